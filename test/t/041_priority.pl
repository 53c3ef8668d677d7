# Priorities: a backlog of low ones does not slow a high one, a restart and
# COMMIT PREPARED keep the order, no consumer ever gets a high one after a low
# one, and ten levels need no more space than one.
use strict;
use warnings;

use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $backlog = $ENV{QUEUE_PRIORITY_BACKLOG} // 1_000_000;
my $node = new_server('priority', conf => [ 'shared_buffers = 256MB',
	'queue.segment_size = 256MB', 'max_wal_size = 20GB' ]);
my $db = connect_db($node, must => 1);

sub fill
{
	my ($queue, $n, $priority) = @_;
	$db->do("SELECT queue.enqueue_batch(?, ARRAY(SELECT to_jsonb(i)
		FROM generate_series(b + 1, least(b + 20000, ?)) i), priority => ?)
		FROM generate_series(0, ? - 1, 20000) b", undef, $queue, $n, $priority,
		$n);
	return;
}

# A high message each time, and how long its claim takes, in an empty queue
# and in one with a backlog, in turn.
$db->do("SELECT queue.create('$_')") for qw(empty full);
fill('full', $backlog, 0);
$db->do(q{
	CREATE TABLE claims (queue text, priority int, ms float8);
	CREATE PROCEDURE claim(queue text) LANGUAGE plpgsql AS $$
	DECLARE
		began timestamptz;
		ended timestamptz;
		m record;
	BEGIN
		PERFORM queue.enqueue(claim.queue, '1', priority => 9);
		COMMIT;
		began := clock_timestamp();
		SELECT * INTO m FROM queue.dequeue(claim.queue);
		ended := clock_timestamp();
		PERFORM queue.ack(claim.queue, m.receipt);
		INSERT INTO claims VALUES (claim.queue, m.priority,
			extract(epoch FROM ended - began) * 1000);
		COMMIT;
	END $$});
for my $i (1 .. 500)
{
	$db->do("CALL claim('$_')") for qw(empty full);
}
is(value($db, 'SELECT min(priority) FROM claims'), 9,
	'only high ones were claimed');
my ($empty, $full) = map { value($db, "SELECT percentile_cont(0.5)
	WITHIN GROUP (ORDER BY ms) FROM claims WHERE queue = '$_'") } qw(empty full);
diag sprintf 'claim of a high message: %.4f ms in an empty queue, %.4f ms '
  . 'before %d low ones, ratio %.2f', $empty, $full, $backlog, $full / $empty;
cmp_ok($full / $empty, '<', 1.2, 'a backlog does not slow a high one');

# After a start nobody knows where the high ones are.  They are deep in the
# queue, behind more pages than one call looks at.
$db->do("SELECT queue.create('cold')");
fill('cold', 150_000, 3);
fill('cold', 5, 8);
ok(wait_for_true(20, sub { value($db, "SELECT priorities
	FROM queue.queue_def WHERE name = 'cold'") }),
	'the worker notes that the queue knows priorities');
for my $how (qw(restart crash))
{
	if ($how eq 'crash')
	{
		$db = crash_and_reconnect($node, $db);
	}
	else
	{
		$db->disconnect;
		$node->restart;
		$db = connect_db($node, must => 1);
	}
	my @got;
	wait_for_true(60, sub {
		push @got, column($db, "SELECT priority FROM queue.dequeue('cold', 2,
			visibility => '1 ms')");
		@got >= 2 });
	is("@got[0, 1]", '8 8', "high ones come first after a $how");
}

# A prepared transaction: nobody runs code when it commits.
$db->do("SELECT queue.create('prepared')");
fill('prepared', 10, 1);
$db->do('BEGIN');
$db->do("SELECT queue.enqueue('prepared', '1', priority => 7)");
$db->do("PREPARE TRANSACTION 'high'");
is(value($db, "SELECT priority FROM queue.dequeue('prepared')"), 1,
	'a high one in a prepared transaction is in nobody\'s way');
$db->do("COMMIT PREPARED 'high'");
sleep 2;
is(value($db, "SELECT priority FROM queue.dequeue('prepared')"), 7,
	'... and comes first when that has committed');

# Several consumers, a message at a time: nobody gets one that is higher than
# the one before, also when another consumer is busy with its page.
$db->do("SELECT queue.create('many')");
$db->do("SELECT queue.enqueue('many', '1', priority => (i * 7919) % 10)
	FROM generate_series(1, 6000) i");
$db->do('CREATE TABLE got (pid int, i int, priority int)');
$db->do(q{
	CREATE PROCEDURE take() LANGUAGE plpgsql AS $$
	DECLARE
		p int;
	BEGIN
		FOR i IN 1 .. 10000 LOOP
			p := (SELECT priority FROM queue.dequeue('many', 1, '1 h'));
			EXIT WHEN p IS NULL;
			INSERT INTO got VALUES (pg_backend_pid(), i, p);
			COMMIT;
		END LOOP;
	END $$});
ok(finish(map { spawn(sub {
	connect_db($node, must => 1)->do('CALL take()') }) } 1 .. 4),
	'four consumers take all they can');
is(value($db, 'SELECT count(*) FROM got'), 6000, 'they got all messages');
is(value($db, 'SELECT count(*) FROM (SELECT priority > lag(priority)
	OVER (PARTITION BY pid ORDER BY i) AS rises FROM got) g WHERE rises'), 0,
	'none came after a lower one');

# Levels do not have pages of their own.
for my $levels (1, 10)
{
	$db->do("SELECT queue.create('wide$levels')");
	ok(finish(map { spawn(sub {
		my $own = connect_db($node, must => 1);
		for my $i (0 .. 9)
		{
			$own->do("SELECT queue.enqueue('wide$levels', '1', priority => ?)",
				undef, $i % $levels);
		}
	}) } 1 .. 25), "25 connections send 10 messages on $levels levels");
}
my @bytes = map { value($db, "SELECT sum(pg_relation_size(relation))
	FROM queue.segment_def WHERE queue_id = (SELECT id FROM queue.queue_def
	WHERE name = 'wide$_')") } 1, 10;
diag "bytes with 1 level: $bytes[0], with 10 levels: $bytes[1]";
cmp_ok($bytes[1], '<=', 40 * 8192, 'ten levels fill no more pages than one');

is(crashed($node), '', 'no process crashed');
$node->stop;
done_testing();
