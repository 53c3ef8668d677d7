# What an administrator, or a nightly job, does to tables: rewriting, moving,
# vacuuming or locking a queue's tables between enqueue and dequeue loses no
# message, delivers none twice, and the queue goes on.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_server('maintenance');
my $db = connect_db($node, must => 1);
$db->do('CREATE EXTENSION amcheck');
$db->do('CREATE EXTENSION pg_visibility');
my $space = PostgreSQL::Test::Utils::tempdir;
$db->do("CREATE TABLESPACE aside LOCATION '$space'");
my $other = connect_db($node, must => 1);
my $number = 0;

sub segments
{
	my ($queue) = @_;
	return column($db, "SELECT s.relation FROM queue.segment_def s
		JOIN queue.queue_def d ON d.id = s.queue_id
		WHERE d.name = ? AND s.state <> 'f' ORDER BY s.chain", $queue);
}

# 10,000 messages, half of them acked, some leased; then the commands, for
# each segment; then everything that is left must come.
sub survives
{
	my ($what, @commands) = @_;
	my $q = 'q' . ++$number;
	$db->do("SELECT queue.create('$q', visibility_timeout => '3 s')");
	my %left = map { $_ => 1 } column($db,
		"SELECT queue.enqueue('$q', to_jsonb(repeat(i::text, 20)))
		 FROM generate_series(1, 10000) i");
	my $taken = $db->selectall_arrayref(
		"SELECT id, receipt FROM queue.dequeue('$q', 5100)");
	my @leased = splice @$taken, 5000;
	$db->do("SELECT queue.ack_batch('$q', ?)", undef,
		[ map { $_->[1] } @$taken ]);
	delete $left{ $_->[0] } for @$taken;
	# Another session knows the tables as they were.
	value($other, "SELECT queue.release('$q', receipt)
		FROM queue.dequeue('$q')");

	for my $command (@commands)
	{
		$db->do($command =~ s/TABLE_NAME/$_/gr) for segments($q);
	}
	my $id = value($other, "SELECT queue.enqueue('$q', '\"new\"')");
	$left{$id} = 1;
	# Leases may have been ended by it, or go on: their receipts say which.
	for my $lease (splice @leased, 0, 20)
	{
		delete $left{ $lease->[0] }
		  if value($other, "SELECT queue.ack('$q', ?)", $lease->[1]);
	}
	my %got;
	$got{$_}++ for drain($other, $q, 30);
	is(join(' ', sort grep { !$got{$_} } keys %left), '',
		"$what: nothing is lost");
	is(join(' ', sort grep { !$left{$_} } keys %got), '',
		"$what: nothing acked is delivered");
	is(join(' ', sort grep { $got{$_} > 1 } keys %got), '',
		"$what: nothing is delivered twice");
	for my $table (segments($q))
	{
		is(value($db, "SELECT count(*) FROM verify_heapam('$table')"), 0,
			"$what: $table is sound");
		is(value($db, "SELECT count(*) FROM pg_check_visible('$table')"), 0,
			"$what: its visibility map as well");
	}
	return;
}

survives('VACUUM', 'VACUUM TABLE_NAME');
survives('VACUUM FREEZE', 'VACUUM (FREEZE) TABLE_NAME');
survives('VACUUM TRUNCATE', 'VACUUM (TRUNCATE) TABLE_NAME');
survives('VACUUM twice', ('VACUUM (FREEZE, TRUNCATE) TABLE_NAME') x 2);
survives('VACUUM FULL', 'VACUUM FULL TABLE_NAME');
survives('VACUUM FULL twice', ('VACUUM FULL TABLE_NAME') x 2);
survives('SET TABLESPACE', 'ALTER TABLE TABLE_NAME SET TABLESPACE aside');
survives('SET UNLOGGED and back', 'ALTER TABLE TABLE_NAME SET UNLOGGED',
	'ALTER TABLE TABLE_NAME SET LOGGED');
survives('CLUSTER', 'CREATE INDEX byid ON TABLE_NAME (id);
	CLUSTER TABLE_NAME USING byid; DROP INDEX queue.byid');
survives('ANALYZE', 'ANALYZE TABLE_NAME');

# The tail ends where messages were taken from the end of the file.
$db->do("SELECT queue.create('tail')");
for my $round (1 .. 5)
{
	$db->do("SELECT queue.enqueue('tail', to_jsonb(i))
		FROM generate_series(1, 2000) i");
	is(scalar drain($other, 'tail'), 2000, "round $round is delivered");
	$db->do("VACUUM (TRUNCATE) $_") for segments('tail');
}

# A lock on a segment makes nobody wait.  What is in it is delivered later.
$db->do("SELECT queue.create('locked')");
$db->do("SELECT queue.enqueue('locked', '1')");
my $locker = connect_db($node, must => 1, transactions => 1);
$locker->do("LOCK TABLE $_") for segments('locked');
my $start = time;
is(value($other, "SELECT count(*) FROM queue.dequeue('locked')"), 0,
	'a locked segment is passed over');
cmp_ok(time - $start, '<', 1, 'not waited for');
$locker->commit;
is(value($other, "SELECT count(*) FROM queue.dequeue('locked', wait => '5 s')"),
	1, 'and its message delivered after it');
is(crashed($node), '', 'no crash');
done_testing();
