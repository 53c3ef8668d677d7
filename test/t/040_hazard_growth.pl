# What must not grow with the size of a queue, or with the number of queues:
# measured with 1, 1,000 and QUEUE_GROWTH_PAGES (20,000) pages, printed, and
# bounded.  The numbers are those of the table in doc/reliability.md.
use strict;
use warnings;

use Hazard;
use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $most = $ENV{QUEUE_GROWTH_PAGES} // 20_000;
my @sizes = (1, 1000, $most);
my $node = new_server('growth', conf => [ 'shared_buffers = 512MB',
	'queue.segment_size = 256MB', 'queue.map_memory = '
	  . int(65536 + $most / 20), 'max_wal_size = 20GB',
	'max_locks_per_transaction = 64', 'checkpoint_timeout = 1h',
	'autovacuum = off' ]);
my $db = connect_db($node, must => 1);

# Median milliseconds of a call in the server.
sub took
{
	my ($n, $code) = @_;
	return median(map {
		my $start = time;
		$code->($_);
		(time - $start) * 1000;
	} 1 .. $n);
}

# Four messages a page.
sub fill
{
	my ($queue, $pages) = @_;
	for (my $done = 0; $done < 4 * $pages; $done += 20_000)
	{
		my $n = 4 * $pages - $done;
		$n = 20_000 if $n > 20_000;
		$db->do("SELECT queue.enqueue_batch('$queue', array_agg(
			jsonb_build_object('n', i, 'x', repeat('x', 1850))))
			FROM generate_series(1, $n) i");
	}
	return;
}

sub worker_cpu
{
	my ($seconds) = @_;
	my $pid = worker_pid($node);
	my $read = sub {
		my ($ns) = PostgreSQL::Test::Utils::slurp_file(
			"/proc/$pid/schedstat") =~ /^(\d+)/;
		return $ns / 1e9;
	};
	my $before = $read->();
	sleep $seconds;
	return ($read->() - $before) / $seconds;
}

sub settled
{
	return wait_for_true(60, sub {
		my $before = value($db, 'SELECT loops FROM queue.workers');
		sleep 1.2;
		return value($db, 'SELECT loops FROM queue.workers') - $before < 5;
	});
}

# Pages that a statement touches in the buffer cache.
sub buffers
{
	my ($sql) = @_;
	my $plan = join "\n", column($db, "EXPLAIN (ANALYZE, BUFFERS) $sql");
	my ($buffers) = $plan =~ /Buffers: (.*)/;
	my $n = 0;
	$n += $1 while $buffers =~ /(?:hit|read)=(\d+)/g;
	return $n;
}

my (%claim, %late, %cpu, %search, %cancel, %touched, %truth);
for my $pages (@sizes)
{
	my $q = "q$pages";
	$db->do("SELECT queue.create('$q', visibility_timeout => '1 h')");
	fill($q, $pages);
	1 while value($db, "SELECT count(*) FROM queue.dequeue('$q', 20000)");
	$truth{$pages} = value($db, "SELECT sum(pg_relation_size(s.relation)) / 8192
		FROM queue.segment_def s JOIN queue.queue_def d ON d.id = s.queue_id
		WHERE d.name = '$q'");
	settled();

	# A claim finds the one ready message among the pages of leased ones.
	my $receipt;
	$claim{$pages} = took(200, sub {
		$db->do("SELECT queue.enqueue('$q', '1')");
		$receipt = value($db, "SELECT receipt FROM queue.dequeue('$q')");
		$db->do("SELECT queue.ack('$q', $receipt)");
	});
	# The worker announces the one that is due.
	my $id;
	$late{$pages} = took(5, sub {
		my $start = time;
		$id = value($db, "SELECT queue.enqueue('$q', '1', delay => '0.2 s')");
		value($db, "SELECT id FROM queue.pop('$q', wait => '10 s')")
		  // value($db, "SELECT id FROM queue.pop('$q')");
	}) - 200;
	$cpu{$pages} = worker_cpu(2);
	$id = value($db, "SELECT max(id) FROM queue.$q");
	$search{$pages} = took(3, sub {
		value($db, "SELECT id FROM queue.get('$q', $id)") });
	$cancel{$pages} = took(3, sub {
		$id = value($db, "SELECT queue.enqueue('$q', '1')");
		value($db, "SELECT queue.cancel('$q', $id)") });
	# The newest, one in the middle, one that is not there.
	for my $wanted ($id, int($id / 2), $id + 100_000)
	{
		my $n = buffers("SELECT * FROM queue.get('$q', $wanted)")
		  + buffers("SELECT queue.cancel('$q', $wanted)");
		$touched{$pages} = $n if $n > ($touched{$pages} // 0);
	}
	note sprintf '%d pages: send, claim, ack %.2f ms; due message %.1f ms late;'
	  . ' idle worker %.2f %% CPU; get %.1f ms; cancel %.1f ms;'
	  . ' both touch %d buffers at most',
	  $truth{$pages}, $claim{$pages}, $late{$pages}, 100 * $cpu{$pages},
	  $search{$pages}, $cancel{$pages}, $touched{$pages};
}
cmp_ok($claim{$most}, '<', 3 * $claim{1} + 1,
	'hazard 39: a claim costs the same however much is leased before it');
cmp_ok($late{$most}, '<', 100,
	'hazard 39: what is due is announced in time');
cmp_ok($cpu{$most}, '<', 0.05, 'hazard 39: the worker reads no idle pages');
cmp_ok($touched{$_}, '<', 800,
	"hazard 36: get() and cancel() look at few of $_ pages") for @sizes;

# --- 38: a restart with everything leased

# Without a worker, which would look at the pages at the same time.
my $worker_processes = value($db, 'SHOW max_worker_processes');
$db->do('ALTER SYSTEM SET max_worker_processes = 0');
$node->restart;
$db = connect_db($node, must => 1);
my $start = time;
my $pages = buffers("SELECT count(*) FROM queue.dequeue('q$most')");
my $empty = (time - $start) * 1000;
is(value($db, "SELECT count(*) FROM queue.dequeue('q1')"), 0,
	'all is leased');
$db->do("ALTER SYSTEM SET max_worker_processes = $worker_processes");
$node->restart;
wait_for_worker($node);
$db = connect_db($node, must => 1);
$start = time;
$db->do("SELECT queue.enqueue('q$most', '\"new\"')");
is(value($db, "SELECT body FROM queue.dequeue('q$most', wait => '30 s')"),
	'"new"', 'a new message comes');
my $new = (time - $start) * 1000;
note sprintf 'restart, %d pages leased: "empty" in %.0f ms after %d pages,'
  . ' a new message in %.0f ms', $truth{$most}, $empty, $pages, $new;
cmp_ok($pages, '<', 3000,
	'hazard 38: the first claim after a restart does not read it all');

# --- 40: deadlines inside a transaction that does not end

$db->do("SELECT queue.create('open')");
$db->do("SELECT queue.enqueue('open', '1') FROM generate_series(1, 100)");
my $other = connect_db($node, must => 1, transactions => 1);
value($other, "SELECT queue.ack_batch('open', array_agg(receipt))
	FROM queue.dequeue('open', 50, '0.2 s')");
$other->do("PREPARE TRANSACTION 'open'");
$other->rollback;
settled();
my $loops = value($db, 'SELECT loops FROM queue.workers');
my $cpu = worker_cpu(4);
$loops = value($db, 'SELECT loops FROM queue.workers') - $loops;
note sprintf 'a prepared ack past its deadline: %d turns in 4 s, %.2f %% CPU',
  $loops, 100 * $cpu;
cmp_ok($loops, '<', 20, 'hazard 40: the worker does not turn in a circle');
$db->do("ROLLBACK PREPARED 'open'");

# --- 28: many queues

$db->do("SELECT queue.create('many ' || i) FROM generate_series(1, 1000) i
	WHERE i % 50 = $_") for 0 .. 49;
settled();
my $session = connect_db($node, must => 1, transactions => 1);
my $all = "SELECT count(*) FROM queue.dequeue_any(
	ARRAY(SELECT 'many ' || i FROM generate_series(1, 1000) i))";
my $cold = took(1, sub { value($session, $all) });
my $warm = took(21, sub { value($session, $all) });
my $locks = value($session, "SELECT count(*) FROM pg_locks
	WHERE pid = pg_backend_pid() AND locktype = 'relation'
	AND mode = 'RowExclusiveLock'");
my $memory = value($session,
	'SELECT sum(total_bytes) / 1024 FROM pg_backend_memory_contexts');
note sprintf '1000 queues: dequeue_any %.1f ms, first time %.0f ms;'
  . ' %d locks, %d kB in the session', $warm, $cold, $locks, $memory;
is($locks, 0, 'hazard 28: empty queues are not even opened');
cmp_ok($warm, '<', 50, 'hazard 28: a claim over 1000 empty queues is quick');
cmp_ok($memory, '<', 65536, 'hazard 28: a session stays small');
cmp_ok(worker_cpu(3), '<', 0.1, 'hazard 28: idle queues cost the worker little');

is(crashed($node), '', 'no crash');
done_testing();
