# What an administrator, or a nightly job, does to tables: rewriting, moving,
# vacuuming or locking a queue's tables between enqueue and dequeue loses no
# message, delivers none twice, and the queue goes on.
use strict;
use warnings;

use Hazard;
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

# Do so many consumers wait for the queue?
sub waiting
{
	my ($queue, $n) = @_;
	return wait_for_true(10, sub { value($db, "SELECT count(*)
		FROM queue.consumers WHERE queue = ? AND state = 'waiting'", $queue)
		  == $n });
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

# The same while somebody waits already: nobody tells him of the lock's end.
$db->do("SELECT queue.create('watched')");
for my $mode ('ACCESS EXCLUSIVE', 'SHARE')
{
	$db->do("SELECT queue.enqueue('watched', '1')");
	$locker->do("LOCK TABLE $_ IN $mode MODE") for segments('watched');
	my $call = begin_call($other,
		"SELECT body FROM queue.dequeue('watched', wait => '20 s')");
	ok(waiting('watched', 1), "$mode: a consumer waits");
	ok(!call_ended($call, 1), '... as long as the lock is held');
	$locker->commit;
	ok(call_ended($call, 2), '... not longer');
	is(end_call($call), 1, '... and gets the message');
}

# Who was woken, and runs out of time before the lock is gone, wakes another.
$db->do("SELECT queue.create('shared')");
my $producer = connect_db($node, must => 1, transactions => 1);
my $second = connect_db($node, must => 1);
my @call;
for my $wait ([ $other, 3 ], [ $second, 30 ])
{
	push @call, begin_call($wait->[0], "SELECT body
		FROM queue.dequeue('shared', wait => '$wait->[1] s')");
	ok(waiting('shared', scalar @call), @call . ' wait');
}
$producer->do("SELECT queue.enqueue('shared', '1')");
my ($table) = column($db, "SELECT s.relation::regclass FROM queue.segment_def s
	JOIN queue.queue_def d ON d.id = s.queue_id
	WHERE d.name = 'shared' AND s.chain = 'm'");
my $lock = begin_call($locker, "LOCK TABLE $table IN SHARE MODE");
ok(wait_for_true(10, sub { value($db, 'SELECT count(*) FROM pg_locks
	WHERE NOT granted') > 0 }), 'a lock is asked for');
$producer->commit;
is(end_call($call[0]), undef, 'the first gets nothing');
end_call($lock);
$locker->commit;
ok(call_ended($call[1], 5), 'the second ...');
is(end_call($call[1]), 1, '... gets the message');

# Starts a new worker and waits until it has looked after all.
sub renew_worker
{
	my $old = worker_pid($node);
	kill 'TERM', $old;
	wait_for_true(20, sub { (worker_pid($node) // $old) != $old });
	my $loops = value($db, 'SELECT loops FROM queue.workers');
	return wait_for_true(10, sub { value($db,
		'SELECT loops FROM queue.workers') > $loops + 2 });
}

# The worker locks no segment only to see whether it is still there.
if (eval { value($db, 'SHOW queue.debug_pause'); 1 })
{
	ok(renew_worker(), 'a worker forgets the files that are gone');
	worker_stop_at($node, $db, 'forget_slot');
	ok(renew_worker(), '... and the next has nothing to forget');
	ok(!-e $node->data_dir . '/queue.forget_slot.reached',
		'... nor to lock');
}
is(crashed($node), '', 'no crash');
done_testing();
