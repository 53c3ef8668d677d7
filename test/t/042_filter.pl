# Filters: consumers that wait with disjoint filters, or one with and one
# without, all get theirs; one match in QUEUE_FILTER_BACKLOG (1,000,000)
# messages costs the backlog once a session, and then next to nothing.
use strict;
use warnings;

use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $backlog = $ENV{QUEUE_FILTER_BACKLOG} // 1_000_000;
my $node = new_server('filter', conf => [ 'shared_buffers = 512MB',
	'queue.segment_size = 256MB', 'max_wal_size = 20GB' ]);
my $db = connect_db($node, must => 1);

sub waiting
{
	my ($queue, $n) = @_;
	return wait_for_true(20, sub { value($db, "SELECT count(*) = ?
		FROM queue.consumers WHERE queue = ? AND state = 'waiting'", $n,
		$queue) });
}

# A consumer in a process of its own: notes each of n messages it gets.
$db->do('CREATE TABLE got (name text, n int, ms float8)');

sub consumer
{
	my ($name, $queue, $filter, $n) = @_;
	return spawn(sub {
		my $own = connect_db($node, must => 1);
		for (1 .. $n)
		{
			$own->do("INSERT INTO got SELECT ?, (body->>'n')::int,
				extract(epoch FROM clock_timestamp() - enqueued_at) * 1000
				FROM queue.dequeue(?, wait => '30 s', filter => ?)", undef,
				$name, $queue, $filter);
		}
	});
}

sub send_to
{
	my ($queue, $for, $n) = @_;
	$db->do("SELECT queue.enqueue(?, jsonb_build_object('n', ?::int),
		headers => jsonb_build_object('for', ?::text))", undef, $queue, $n,
		$for);
	return;
}

# Disjoint filters.  Who waits longest is not whom a message fits.
$db->do("SELECT queue.create('two', visibility_timeout => '1 h')");
my @pids = consumer('a', 'two', '{"for": "a"}', 100);
waiting('two', 1);
push @pids, consumer('b', 'two', '{"for": "b"}', 100);
waiting('two', 2);
for my $i (1 .. 100)
{
	send_to('two', $_, $i) for $i % 3 ? qw(b a) : qw(a b);
	sleep 0.005 if $i % 2;
}
ok(finish(@pids), 'two consumers with disjoint filters end');
is(value($db, "SELECT string_agg(name || c, ' ' ORDER BY name)
	FROM (SELECT name, count(*) AS c FROM got GROUP BY 1) g"), 'a100 b100',
	'each got all of its own');
cmp_ok(value($db, 'SELECT max(ms) FROM got'), '<', 5000, '... at once');

# One with and one without, the former first and last in the line.
for my $order (0, 1)
{
	$db->do('TRUNCATE got');
	$db->do("SELECT queue.create('mixed$order', visibility_timeout => '1 h')");
	my @consumers = ([ 'a', "mixed$order", '{"for": "a"}', 1 ],
		[ 'plain', "mixed$order", undef, 1 ]);
	@pids = consumer(@{ $consumers[$order] });
	waiting("mixed$order", 1);
	push @pids, consumer(@{ $consumers[ 1 - $order ] });
	waiting("mixed$order", 2);
	send_to("mixed$order", 'nobody', 1);
	ok(wait_for_true(10, sub { value($db,
		"SELECT count(*) FROM got WHERE name = 'plain' AND n = 1") }),
		'what fits no filter goes to who has none');
	waiting("mixed$order", 1);
	send_to("mixed$order", 'a', 2);
	ok(finish(@pids), 'both end');
	is(value($db, "SELECT n FROM got WHERE name = 'a'"), 2,
		'... and what fits to who has one');
}

# One match in a million.
$db->do("SELECT queue.create('big')");
$db->do("SELECT queue.enqueue_batch('big', ARRAY(SELECT to_jsonb(i)
		FROM generate_series(1, 20000) i),
	headers => ARRAY(SELECT jsonb_build_object('for', 'u' || i)
		FROM generate_series(b, b + 19999) i))
	FROM generate_series(0, ? - 1, 20000) b", undef, $backlog);
$db->do(q{
	CREATE TABLE claims (what text, taken int, ms float8);
	CREATE PROCEDURE claim(queue text, what text, filter jsonb)
	LANGUAGE plpgsql AS $$
	DECLARE
		began timestamptz;
		receipts bigint[];
		ended timestamptz;
	BEGIN
		began := clock_timestamp();
		receipts := ARRAY(SELECT receipt FROM queue.dequeue(claim.queue, 1,
			filter => claim.filter));
		ended := clock_timestamp();
		INSERT INTO claims VALUES (what, cardinality(receipts),
			extract(epoch FROM ended - began) * 1000);
		PERFORM queue.ack_batch(claim.queue, receipts);
		COMMIT;
	END $$});

sub took
{
	my ($what) = @_;
	return value($db, "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)
		FROM claims WHERE what = ?", $what);
}

my $nobody = '{"for": "nobody"}';
$db->do("CALL claim('big', 'first', ?)", undef, $nobody);
$db->do("CALL claim('big', 'second', ?)", undef, $nobody);
$db->do("CALL claim('big', 'nothing', ?)", undef, $nobody) for 1 .. 200;
is(value($db, 'SELECT sum(taken) FROM claims'), 0, 'no match, no message');
$db->do("SELECT queue.create('empty')");
for (1 .. 200)
{
	send_to($_, 'nobody', 1) for qw(big empty);
	$db->do("CALL claim(?, ?, ?)", undef, $_, $_, $nobody) for qw(big empty);
}
is(value($db, "SELECT sum(taken) FROM claims"), 400, 'a match is found');
my ($first, $second, $nothing, $big, $empty) =
  map { took($_) } qw(first second nothing big empty);
diag sprintf 'one match in %d: first call of the session %.0f ms, second '
  . '%.2f, later without a match %.3f, with one %.3f (empty queue %.3f)',
  $backlog, $first, $second, $nothing, $big, $empty;
cmp_ok($nothing, '<', 1, 'a call without a match costs next to nothing');
cmp_ok($big, '<', $empty + 1, '... and so does one with a match');

# While others take and send, what fits is found, and once.
$db->do("SELECT queue.create('busy', visibility_timeout => '1 h')");
$db->do("CREATE TABLE taken (filtered boolean, id bigint)");
my @busy = map { my $f = $_; spawn(sub {
	my $own = connect_db($node, must => 1);
	my $idle = 0;
	while ($idle < 40)
	{
		my $n = $own->do("INSERT INTO taken SELECT ?, m.id
			FROM queue.dequeue('busy', 3, filter => ?) m
			WHERE queue.ack('busy', receipt)", undef, $f ? 't' : 'f',
			$f ? '{"for": "me"}' : '{"for": "others"}');
		$idle = $n > 0 ? 0 : $idle + 1;
		sleep 0.05 if $n == 0;
	}
}) } (0, 0, 1, 1);
push @busy, map { my $s = $_; spawn(sub {
	my $own = connect_db($node, must => 1);
	for my $i (1 .. 1500)
	{
		$own->do("SELECT queue.enqueue('busy', '1', headers =>
			jsonb_build_object('for', ?::text), delay => ?)", undef,
			$i % 10 == 0 ? 'me' : 'others', $i % 7 == 0 ? '0.05 s' : '0');
	}
}) } 1, 2;
ok(finish(@busy), 'producers and consumers with filters end');
is(value($db, "SELECT string_agg(filtered || ':' || c || ':' || d, ' '
		ORDER BY filtered)
	FROM (SELECT filtered, count(*) AS c, count(DISTINCT id) AS d FROM taken
		GROUP BY 1) t"), 'false:2700:2700 true:300:300',
	'every message went once to somebody whom it fits');

is(crashed($node), '', 'no process crashed');
$node->stop;
done_testing();
