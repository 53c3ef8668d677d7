# Messages that become claimable, or settled, without any callback of the
# extension running: prepared transactions over a crash, row locks that end,
# rows that come in without enqueue.
use strict;
use warnings;

use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_server('prepared');
my $db = connect_db($node, must => 1);

sub crash
{
	$db = crash_and_reconnect($node, $db);
	return;
}

# Prepares the statement's transaction; returns its first value.
sub prepare
{
	my ($name, $sql, @values) = @_;
	my $other = connect_db($node, must => 1, transactions => 1);
	my $result = value($other, $sql, @values);
	$other->do("PREPARE TRANSACTION '$name'");
	# The session is in no transaction any more, whatever the driver thinks.
	$other->{AutoCommit} = 1;
	$other->disconnect;
	return $result;
}

# How many messages the queue delivers at once.
sub now
{
	my ($queue) = @_;
	return scalar column($db, "SELECT id FROM queue.dequeue(?, 100, '1 h')",
		$queue);
}

# The same for a consumer that waits; none when it was not woken in time.
sub soon
{
	my ($queue) = @_;
	my $start = time;
	my $n = column($db,
		"SELECT id FROM queue.dequeue(?, 100, '1 h', '10 s')", $queue);
	return time - $start < 5 ? $n : 'not woken';
}

for my $crash (0, 1)
{
	my $when = $crash ? ', with a crash in between' : '';
	my $q = "q$crash";
	$db->do("SELECT queue.create('$q', retry_delay => '0',
		retry_backoff => 'none', visibility_timeout => '1 s')");

	# Looked at while undecided, so that a page would be forgotten.
	prepare('send', "SELECT queue.enqueue('$q', '1')");
	is(now($q), 0, "a prepared enqueue is not delivered$when");
	crash() if $crash;
	is(now($q), 0, '... and still not') if $crash;
	$db->do("COMMIT PREPARED 'send'");
	is(soon($q), 1, "... and is when committed$when");
	$db->do("SELECT queue.purge('$q')");

	prepare('send', "SELECT queue.enqueue('$q', '1')");
	crash() if $crash;
	is(now($q), 0, "a prepared enqueue waits$when");
	$db->do("ROLLBACK PREPARED 'send'");
	sleep 0.3;
	is(now($q), 0, "... and is never delivered when rolled back$when");

	$db->do("SELECT queue.enqueue('$q', '2')");
	my $receipt = value($db, "SELECT receipt FROM queue.dequeue('$q')");
	is(prepare('ack', "SELECT queue.ack('$q', ?)", $receipt), 1,
		"an ack is prepared$when");
	crash() if $crash;
	sleep 1.1;			# beyond its deadline
	is(now($q), 0, "... the message is nobody else's meanwhile$when");
	$db->do("ROLLBACK PREPARED 'ack'");
	is(soon($q), 1, "... and is delivered when rolled back$when");
	is(value($db, "SELECT queue.ack('$q', ?)", $receipt), 0,
		"... the old receipt is stale then$when");
	$db->do("SELECT queue.purge('$q')");

	$db->do("SELECT queue.enqueue('$q', '3')");
	$receipt = value($db, "SELECT receipt FROM queue.dequeue('$q')");
	prepare('ack', "SELECT queue.ack('$q', ?)", $receipt);
	crash() if $crash;
	$db->do("COMMIT PREPARED 'ack'");
	sleep 1.1;
	is(now($q), 0, "a committed one is done$when");

	$db->do("SELECT queue.enqueue('$q', '4')");
	prepare('pop', "SELECT id FROM queue.pop('$q')");
	is(now($q), 0, "a prepared pop has the message$when");
	crash() if $crash;
	is(now($q), 0, '... and still has') if $crash;
	$db->do("ROLLBACK PREPARED 'pop'");
	is(soon($q), 1, "... and gives it back when rolled back$when");
	$db->do("SELECT queue.purge('$q')");
}

# Somebody locks rows by plain SQL.
$db->do("SELECT queue.create('locked', visibility_timeout => '1 s')");
for my $lock ('UPDATE', 'NO KEY UPDATE', 'SHARE', 'KEY SHARE')
{
	$db->do("SELECT queue.enqueue('locked', '1')");
	my @others = map { connect_db($node, must => 1, transactions => 1) } 1 .. 2;
	value($others[0], "SELECT id FROM queue.locked FOR $lock");
	# Two share lockers are a multixact.
	value($others[1], "SELECT id FROM queue.locked FOR $lock")
	  if $lock =~ /SHARE/;
	is(now('locked'), 0, "FOR $lock: the message is skipped, not waited for");
	$_->commit for @others;
	is(soon('locked'), 1, "FOR $lock: and delivered when the lock is gone");
	$db->do("SELECT queue.purge('locked')");
	$_->disconnect for @others;
}

# Rows that come in as a restore or a replica brings them.
$db->do("SELECT queue.create('copied')");
$db->do("SELECT queue.enqueue('copied', to_jsonb(i))
	FROM generate_series(1, 1000) i");
my $table = value($db, "SELECT s.relation FROM queue.segment_def s
	JOIN queue.queue_def d ON d.id = s.queue_id
	WHERE d.name = 'copied' AND s.chain = 'm' AND s.state = 'o'");
my @rows;
$db->do("COPY $table TO STDOUT");
my $line;
push @rows, $line while $db->pg_getcopydata($line) >= 0;
is(scalar drain($db, 'copied'), 1000, 'drained');
is(now('copied'), 0, 'empty');
$db->do('SET session_replication_role = replica');
ok(!eval { $db->do("INSERT INTO $table SELECT * FROM $table"); 1 },
	'the tables are guarded against a replica as well');
$db->do("ALTER TABLE $table DISABLE TRIGGER ALL");
$db->do("COPY $table FROM STDIN");
$db->pg_putcopydata($_) for @rows;
$db->pg_putcopyend;
$db->do('RESET session_replication_role');
my %got;
wait_for_true(20, sub {
	$got{$_}++ for column($db,
		"SELECT id FROM queue.dequeue('copied', 1000, '1 h')");
	keys %got == 1000 });
is(scalar keys %got, 1000, 'rows that came in by COPY are delivered');
is(scalar(grep { $_ > 1 } values %got), 0, '... once');
is(crashed($node), '', 'no crash');
done_testing();
