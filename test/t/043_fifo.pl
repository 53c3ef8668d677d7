# Kind fifo under load: the order of each key, two consumers never on one key,
# nothing lost, whatever consumers do, over a crash of the server and with
# hardly any memory for keys.  Then what a claim costs with many keys, and with
# one key that is in the way of the others.
#
# FIFO_FULL=1 takes a million messages and a hot key of 100,000.
use strict;
use warnings;

use Hazard;
use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $keys = 40;

# One line for each message that was acked, in the transaction that acked it;
# n ascends within a key, since a key is held by one consumer at a time.
sub create_tables
{
	my ($db) = @_;
	$db->do($_) for (
		'CREATE TABLE sent (id bigint PRIMARY KEY, key text)',
		'CREATE TABLE done (n bigserial, id bigint PRIMARY KEY, key text)');
	return;
}

# Sends until told to stop: singly, in batches, delayed, in transactions that
# roll back in whole or in part.
sub produce
{
	my ($node, $queue, $until) = @_;
	srand($$);
	my $db = connect_db($node) or return;
	eval {
		while (time < $until && !-e $node->data_dir . '/stop')
		{
			my $what = rand;
			my $send = sub {
				my ($n, $delay) = @_;
				$db->do("WITH k AS (SELECT i, 'k' || floor(random() * ?) AS key
						FROM generate_series(1, ?::int) i),
					ids AS (SELECT queue.enqueue_batch(?, array_agg(
						to_jsonb(i) ORDER BY i), keys => array_agg(key
						ORDER BY i), delay => ?::interval) AS ids FROM k)
					INSERT INTO sent SELECT ids[i], key FROM ids, k",
					undef, $keys, $n, $queue, $delay);
			};
			$db->begin_work;
			$send->(1 + int rand 20, $what < 0.1 ? '50 ms' : undef);
			if ($what > 0.8)
			{
				$db->do('SAVEPOINT a');
				$send->(1 + int rand 5);
				$db->do('ROLLBACK TO a');
				$send->(1 + int rand 5);
			}
			sleep rand 0.02 if $what > 0.5;
			$what > 0.4 && $what < 0.5 ? $db->rollback : $db->commit;
			sleep rand 0.05;
		}
	};
	return;
}

# Takes a batch, acks a part of it in order, and does one of several things
# with the rest.  While it works on a key it holds an advisory lock; that this
# is free proves that nobody else has a message of the key.
sub consume
{
	my ($node, $queue, $until, $complaints) = @_;
	srand($$);
	my $db = connect_db($node) or return;
	eval {
		while (time < $until && !-e $node->data_dir . '/stop')
		{
			my $how = rand;
			$db->begin_work if $how > 0.9;
			my $rows = $db->selectall_arrayref("SELECT key, id, receipt
				FROM queue.dequeue(?, ?, wait => ?::interval)",
				undef, $queue, 1 + int rand 8,
				$how > 0.9 ? '0' : '200 ms');
			my (%of_key, @order);
			for my $row (@$rows)
			{
				push @{ $of_key{ $row->[0] } }, $row;
				push @order, $row->[0] if @{ $of_key{ $row->[0] } } == 1;
			}
			for my $key (@order)
			{
				value($db, 'SELECT pg_try_advisory_lock(hashtext(?))', $key)
				  or complain($complaints, "$queue: two hold key $key");
				my @ids = map { $_->[1] } @{ $of_key{$key} };
				complain($complaints, "$queue: order within a batch: @ids")
				  if "@ids" ne join ' ', sort { $a <=> $b } @ids;
			}
			sleep rand 0.01;
			my $unlock = sub {
				$db->do('SELECT pg_advisory_unlock(hashtext(?))', undef, $_)
				  for @order;
			};
			if ($how > 0.9)
			{
				# all come back, after the backoff
				$unlock->();
				$db->rollback;
				next;
			}
			my (@ack, @rest);
			for my $key (@order)
			{
				my @all = @{ $of_key{$key} };
				my $n = rand() < 0.6 ? @all : int rand(@all + 1);
				push @ack, splice @all, 0, $n;
				push @rest, @all;
			}
			settle($db, $queue, $how, \@ack, \@rest, $unlock);
		}
	};
	return;
}

sub settle
{
	my ($db, $queue, $how, $ack, $rest, $unlock) = @_;
	my @receipts = map { $_->[2] } @$rest;
	# what expires is held by nobody, so the lock goes first
	if ($how < 0.1 && @receipts)
	{
		$unlock->();
		$db->do("SELECT queue.extend_batch(?, ?, '30 ms')", undef, $queue,
			\@receipts);
		@receipts = ();
	}
	$db->begin_work;
	if (@$ack)
	{
		$db->do('INSERT INTO done (id, key) SELECT id, key
			FROM unnest(?::bigint[], ?::text[], ?::bigint[])
			WITH ORDINALITY x(id, key, receipt, i)
			WHERE queue.ack(?, receipt) ORDER BY i', undef,
			[ map { $_->[1] } @$ack ], [ map { $_->[0] } @$ack ],
			[ map { $_->[2] } @$ack ], $queue);
	}
	# the rows were numbered, the locks go before others can see the acks
	$unlock->() unless $how < 0.1 && @$rest;
	if ($how > 0.8 && $how < 0.85)
	{
		$db->rollback;
		# the leases are still ours
		$db->do('SELECT queue.release_batch(?, ?)', undef, $queue,
			[ map { $_->[2] } @$ack, @$rest ]);
		return;
	}
	$db->commit;
	return unless @receipts;
	my $call = $how < 0.5 ? 'nack_batch' : 'release_batch';
	# from the last to the first: the first one leads
	$db->do("SELECT queue.$call(?, ?, delay => ?::interval)", undef, $queue,
		\@receipts, rand() < 0.5 ? '0' : '20 ms');
	return;
}

sub complain
{
	my ($file, $what) = @_;
	PostgreSQL::Test::Utils::append_to_file($file, "$what\n");
	return;
}

# Runs the load for some seconds, with a crash in the middle if wanted, and
# checks what came of it.
sub stress
{
	my ($name, $seconds, $crash, @conf) = @_;
	my $node = new_server($name, conf => \@conf);
	my $db = connect_db($node, must => 1);
	my $complaints = PostgreSQL::Test::Utils::tempdir . '/complaints';
	my $queue = 'ordered';
	create_tables($db);
	$db->do("SELECT queue.create('ordered', kind => 'fifo',
		visibility_timeout => '20 s', retry_delay => '20 ms',
		retry_backoff => 'none')");

	my $run = sub {
		my ($for) = @_;
		my $until = time + $for;
		return ((map { spawn(sub { produce($node, $queue, $until) }) } 1 .. 3),
			map { spawn(sub { consume($node, $queue, $until + 1,
				$complaints) }) } 1 .. 5);
	};
	my @pids = $run->($seconds);
	if ($crash)
	{
		sleep $seconds / 2;
		$db = crash_and_reconnect($node, $db);
		finish(@pids);
		@pids = $run->($seconds);
	}
	finish(@pids);
	# what crashed consumers held comes back after 20 s
	my $end = time + 90;
	my $left = 1;
	while ($left && time < $end)
	{
		finish(map { spawn(sub { consume($node, $queue, time + 2,
			$complaints) }) } 1 .. 3);
		$left = value($db, 'SELECT count(*) FROM queue.ordered');
	}

	my $sent = value($db, 'SELECT count(*) FROM sent');
	cmp_ok($sent, '>', 100, "$name: $sent messages");
	is($left, 0, "$name: all are delivered");
	is(value($db, 'SELECT count(*) FROM sent FULL JOIN done USING (id)
		WHERE sent.key IS DISTINCT FROM done.key'), 0,
		"$name: each of them once");
	is(value($db, 'SELECT count(*) FROM (SELECT id, lag(id) OVER (
		PARTITION BY key ORDER BY n) AS before FROM done) s
		WHERE id < before'), 0, "$name: the order of each key is kept");
	is(-e $complaints ? slurp_file($complaints) : '', '',
		"$name: nobody is on a key that somebody else has");
	is(crashed($node), '', "$name: no crash but ours");
	$db->disconnect;
	$node->stop;
	return;
}

# A walk that passed a page before its key became free must not take what comes
# behind it.  Key "a" is leased on page 0 and waits on page 1; the walk begins
# with page 2, where "c" and more of "a" are, and is held there.
sub force_race
{
	my $node = new_server('race');
	my $db = connect_db($node, must => 1);
	need_debug_build($db);
	my $walker = connect_db($node, must => 1);
	$db->do("SELECT queue.create('race', kind => 'fifo')");
	my $send = sub {
		my ($key, $n) = @_;
		# four on a page
		$db->do("SELECT queue.enqueue_batch('race', payloads =>
			array_fill(convert_to(repeat('x', 1900), 'UTF8'),
			ARRAY[$n]), keys => array_fill('$key'::text, ARRAY[$n]))");
	};
	$send->('a', 8);
	$send->('b', 1);
	my @receipts = column($db, "SELECT receipt FROM queue.dequeue('race', 4)");
	is(join(' ', column($db, "SELECT key FROM queue.dequeue('race', 9)")), 'b',
		'the other key can be had, and nothing else');
	$send->('c', 1);
	$send->('a', 8);
	stop_at($node, $walker, 'claim_page');
	my $call = begin_call($walker, "SELECT key FROM queue.dequeue('race', 99)");
	reached($node, 'claim_page');
	is(value($db, "SELECT queue.ack_batch('race', ?)", \@receipts), 4,
		'the key becomes free behind the walk');
	release($node, 'claim_page');
	is(join(' ', end_call($call)), 'c', 'nothing is taken out of turn');
	my @ids = column($db, "SELECT id FROM queue.dequeue('race', 99)");
	is("@ids", join(' ', sort { $a <=> $b } @ids), 'then all in order');
	is(scalar(@ids), 12, '... without exception');
	is(crashed($node), '', 'no crash');
	$node->stop;
	return;
}

# Milliseconds that a statement takes, the median of some runs.
sub milliseconds
{
	my ($db, $runs, $code) = @_;
	return median(map {
		my $begin = time;
		$code->();
		(time - $begin) * 1000;
	} 1 .. $runs);
}

sub measure
{
	my $full = $ENV{FIFO_FULL};
	my $messages = $full ? 1_000_000 : 200_000;
	my $hot = $full ? 100_000 : 20_000;
	my $node = new_server('speed',
		conf => [ 'shared_buffers = 512MB', 'max_wal_size = 8GB' ]);
	my $db = connect_db($node, must => 1);

	my %rate;
	for my $kind ('work', 'fifo')
	{
		$db->do("SELECT queue.create('$kind', kind => '$kind',
			visibility_timeout => '1 h')");
		my $begin = time;
		$db->do("SELECT queue.enqueue_batch('$kind', (SELECT array_agg(
			jsonb_build_object('n', i)) FROM generate_series(1, $messages) i),
			keys => (SELECT array_agg('key ' || i % 10000)
			FROM generate_series(1, $messages) i))");
		my $sent = time - $begin;
		my $n = 0;
		$begin = time;
		while ($n < $messages / 4)
		{
			my ($got) = $db->selectrow_array("SELECT queue.ack_batch('$kind',
				ARRAY(SELECT receipt FROM queue.dequeue('$kind', 100)))");
			$n += $got;
		}
		$rate{$kind} = $n / (time - $begin);
		diag sprintf '%s, 10,000 keys, %d messages: sent %d/s, claim and '
		  . 'ack by 100 %d/s', $kind, $messages, $messages / $sent,
		  $rate{$kind};
	}
	cmp_ok($rate{fifo}, '>', $rate{work} / 5,
		'many keys cost less than five times as much');

	# all 10,000 keys in use: the rest of the queue is blocked
	my $begin = time;
	my $taken = value($db, "SELECT count(*) FROM queue.dequeue('fifo', 10000)");
	my $took = (time - $begin) * 1000;
	my ($first) = milliseconds($db, 1, sub {
		value($db, "SELECT count(*) FROM queue.dequeue('fifo', 100000)") });
	my $again = milliseconds($db, 5, sub {
		value($db, "SELECT count(*) FROM queue.dequeue('fifo')") });
	diag sprintf 'all keys in use: %d leased in %.0f ms, the first vain claim '
	  . '%.0f ms, the next %.1f ms', $taken, $took, $first, $again;

	$db->do("SELECT queue.create('hot', kind => 'fifo',
		visibility_timeout => '1 h')");
	$db->do("SELECT queue.enqueue_batch('hot', (SELECT array_agg(
		to_jsonb(i)) FROM generate_series(1, $hot) i),
		keys => (SELECT array_agg('hot'::text)
		FROM generate_series(1, $hot) i))");
	$db->do("SELECT queue.enqueue_batch('hot', (SELECT array_agg(
		to_jsonb(i)) FROM generate_series(1, 1000) i),
		keys => (SELECT array_agg('free ' || i)
		FROM generate_series(1, 1000) i))");
	my $receipt = value($db, "SELECT receipt FROM queue.dequeue('hot')");
	my @ms;
	my @keys;
	for (1 .. 1000)
	{
		push @ms, milliseconds($db, 1, sub {
			push @keys, column($db, "SELECT key FROM queue.dequeue('hot')") });
	}
	my ($slowest) = sort { $b <=> $a } @ms;
	is(scalar(grep { /free/ } @keys), 1000,
		'a saturated key at the head does not starve the others');
	diag sprintf 'hot key of %d before 1,000 free ones: first %.1f ms, '
	  . 'then %.2f ms, slowest %.1f ms', $hot, $ms[0], median(@ms),
	  $slowest;
	my $each = milliseconds($db, 200, sub {
		value($db, "SELECT queue.ack('hot', ?)", $receipt);
		$receipt = value($db, "SELECT receipt FROM queue.dequeue('hot')");
	});
	diag sprintf 'the hot key one by one: %.2f ms for ack and claim', $each;
	cmp_ok($each, '<', 50, 'the hot key goes on fast');
	is(crashed($node), '', 'no crash');
	$node->stop;
	return;
}

force_race();
my $seconds = $ENV{FIFO_SECONDS} // 8;
stress('plain', $seconds, 0);
stress('crash', $seconds, 1);
stress('tight', $seconds, 0, "queue.key_memory = '64kB'");
measure();
done_testing();
