# Fair queues: how long a quiet tenant waits beside one that floods the queue
# with QUEUE_FAIR_FLOOD (200,000) messages, with and without the option.
use strict;
use warnings;

use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $flood = $ENV{QUEUE_FAIR_FLOOD} // 200_000;
my $node = new_server('fair', conf => [ 'shared_buffers = 256MB',
	'queue.segment_size = 256MB', 'max_wal_size = 20GB',
	'synchronous_commit = off' ]);
my $db = connect_db($node, must => 1);

$db->do('CREATE UNLOGGED TABLE waits (queue text, tenant text, ms float8)');
$db->do(q{
	-- Takes 50 at a time, works on them for 5 ms, and acks them.
	CREATE PROCEDURE consume(queue text) LANGUAGE plpgsql AS $$
	DECLARE
		receipts bigint[];
	BEGIN
		LOOP
			WITH m AS MATERIALIZED (
				SELECT key, receipt, enqueued_at
				FROM queue.dequeue(consume.queue, 50, '1 min')
			), w AS (
				INSERT INTO waits SELECT consume.queue, key,
					extract(epoch FROM clock_timestamp() - enqueued_at) * 1000
				FROM m WHERE key LIKE 'quiet%'
			)
			SELECT array_agg(receipt) INTO receipts FROM m;
			COMMIT;
			EXIT WHEN receipts IS NULL;
			PERFORM pg_sleep(0.005);
			PERFORM queue.ack_batch(consume.queue, receipts);
			COMMIT;
		END LOOP;
	END $$;
	-- Sends for quiet tenants until the flood is over.
	CREATE PROCEDURE trickle(queue text) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. 3000 LOOP
			EXIT WHEN (SELECT ready < 1000 FROM queue.stats s
				WHERE s.queue = trickle.queue);
			PERFORM queue.enqueue(trickle.queue, '1', key => 'quiet' || i % 5);
			COMMIT;
			PERFORM pg_sleep(0.02);
		END LOOP;
	END $$});

my (%p99, %seconds);
for my $queue (qw(plain fair))
{
	$db->do("SELECT queue.create(?, fair => ?)", undef, $queue,
		$queue eq 'fair' ? 't' : 'f');
	$db->do("SELECT queue.enqueue_batch(?, ARRAY(SELECT to_jsonb(i)
			FROM generate_series(1, 10000) i),
		keys => array_fill('flood'::text, ARRAY[10000]))
		FROM generate_series(1, ? / 10000)", undef, $queue, $flood);
	my $start = time;
	ok(finish((map { spawn(sub {
		connect_db($node, must => 1)->do("CALL consume('$queue')") }) } 1 .. 4),
		spawn(sub {
			connect_db($node, must => 1)->do("CALL trickle('$queue')") })),
		"$queue: the flood is over");
	$seconds{$queue} = time - $start;
	drain($db, $queue);
	$p99{$queue} = value($db, "SELECT percentile_cont(0.99)
		WITHIN GROUP (ORDER BY ms) FROM waits WHERE queue = '$queue'");
	diag sprintf '%s: a quiet tenant waits %.0f ms (p50), %.0f ms (p99), '
	  . '%d messages; %d messages of the flood took %.1f s', $queue,
	  value($db, "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)
		FROM waits WHERE queue = '$queue'"), $p99{$queue},
	  value($db, "SELECT count(*) FROM waits WHERE queue = '$queue'"),
	  $flood, $seconds{$queue};
}
cmp_ok($p99{fair}, '<', $p99{plain} / 5,
	'a quiet tenant waits less than a fifth of the time');
cmp_ok($seconds{fair}, '<', $seconds{plain} * 2, 'the flood is not held back');

# Quiet tenants alone could keep all consumers busy: the flood goes on.
$db->do("SELECT queue.create('busy', fair => true)");
$db->do("SELECT queue.enqueue_batch('busy', ARRAY(SELECT to_jsonb(i)
		FROM generate_series(1, 1000) i),
	keys => array_fill('flood'::text, ARRAY[1000]))");
$db->do("SELECT count(*) FROM queue.dequeue('busy', 40, '1 h')");
$db->do("SELECT queue.enqueue('busy', '1', key => 'q' || i)
	FROM generate_series(1, 1000) i");
my @got = map { column($db, "SELECT key FROM queue.dequeue('busy', 1, '1 h')") }
  1 .. 500;
my $flooded = grep { $_ eq 'flood' } @got;
is(scalar @got, 500, 'each call gets a message');
is($flooded, 50, '... every tenth the oldest one');

is(crashed($node), '', 'no process crashed');
$node->stop;
done_testing();
