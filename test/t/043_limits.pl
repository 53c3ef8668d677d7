# Limits, dedup_ids, the active session and leases that end with their session
# across restarts, crashes and many processes.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Hazard;
use PostgreSQL::Test::Utils;
use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_server('limits', conf => [ 'autovacuum = off',
	'queue.debug_dedup_period = 3000' ]);
my $db = connect_db($node, must => 1);

sub in_queue
{
	my ($queue) = @_;
	return value($db, "SELECT count(*) FROM queue.\"$queue\"");
}

# undef when the call succeeded.
sub state_of
{
	my ($handle, $sql) = @_;
	return eval { $handle->selectrow_array($sql); 1 } ? undef : $handle->state;
}

# What is left of a limit after a restart and after a crash.
$db->do("SELECT queue.create('lim', max_messages => 1000)");
$db->do("SELECT queue.create('bytes', max_bytes => 100000)");
$db->do("SELECT queue.enqueue_batch('lim', array_fill('1'::jsonb, ARRAY[990]))");
$db->do("SELECT queue.enqueue('bytes', payload => convert_to(repeat('x', 60000), 'UTF8'))");
$db->do("SELECT queue.ack('lim', receipt) FROM queue.dequeue('lim', 90)");
$db->do("SELECT FROM queue.dequeue('lim', 100)");
for my $how ('restart', 'crash')
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
	is(state_of($db, "SELECT queue.enqueue_batch('lim', array_fill('1'::jsonb, ARRAY[101]))"),
		'53400', "$how: no more than there is room for");
	is(state_of($db, "SELECT queue.enqueue_batch('lim', array_fill('1'::jsonb, ARRAY[50]))"),
		undef, "$how: as much as there is room for");
	is(state_of($db, "SELECT queue.enqueue_batch('lim', array_fill('1'::jsonb, ARRAY[51]))"),
		'53400', "$how: then it is full");
	$db->do("SELECT queue.pop('lim', 50)");
	is(in_queue('lim'), 900, "$how: the number of messages");
	is(state_of($db, "SELECT queue.enqueue('bytes', payload => convert_to(repeat('x', 40001), 'UTF8'))"),
		'53400', "$how: bytes");
	is(state_of($db, "SELECT queue.enqueue('bytes', payload => convert_to(repeat('x', 40000), 'UTF8'))"),
		undef, "$how: as many bytes as there is room for");
	$db->do("SELECT queue.ack('bytes', receipt) FROM queue.dequeue('bytes', 10, '1 s') WHERE length(payload) = 40000");
	sleep 1.1;
}

# Many senders and consumers at a limit: it is never exceeded, and nobody
# sleeps for ever.
$db->do("SELECT queue.create('blk', max_messages => 20, overflow => 'block')");
my $most = 0;
my @senders = map {
	my $n = $_;
	spawn(sub {
		my $own = connect_db($node, must => 1);
		srand $n;
		for my $i (1 .. 100)
		{
			$own->begin_work;
			my $count = 1 + int rand 3;
			$own->do("SELECT queue.enqueue_batch('blk', array_fill('1'::jsonb, ARRAY[$count]))");
			rand() < 0.2 ? $own->rollback : $own->commit;
		}
	})
} 1 .. 6;
my @consumers = map {
	spawn(sub {
		my $own = connect_db($node, must => 1);
		while (1)
		{
			my @got = column($own, "SELECT queue.ack('blk', receipt) FROM queue.dequeue('blk', 2, wait => '3 s')");
			last unless @got;
		}
	})
} 1 .. 2;
for (1 .. 50)
{
	my $now = in_queue('blk');
	$most = $now if $now > $most;
	sleep 0.02;
}
ok(finish(@senders), 'all senders came to an end');
ok(finish(@consumers), 'and the consumers');
cmp_ok($most, '<=', 20, "never more than the limit: $most");
is(in_queue('blk'), 0, 'the queue is empty');
is(state_of($db, "SELECT queue.enqueue_batch('blk', array_fill('1'::jsonb, ARRAY[20]))"),
	undef, 'and its totals say so');

# DDL that makes no room wakes one who waits for it, and he waits on.
my $sender = connect_db($node, must => 1);
my $blocked = begin_call($sender, "SELECT queue.enqueue('blk', '2') > 0");
for my $ddl ("queue.pause('blk', enqueue => false)", "queue.resume('blk')",
	"queue.alter('blk', visibility_timeout => '1 min')")
{
	$db->do("SELECT $ddl");
	ok(!call_ended($blocked, 0.2), "$ddl: still full");
}
$db->do("SELECT queue.pop('blk')");
is(end_call($blocked, 5), 1, '... until there is room');
is(in_queue('blk'), 20, 'as many as there may be');

# Room wakes him: he would look by himself a second after his last look.
my @slept;
for (1 .. 5)
{
	$blocked = begin_call($sender, "SELECT queue.enqueue('blk', '2') > 0");
	sleep 0.1;
	my $start = time;
	$db->do("SELECT queue.pop('blk')");
	is(end_call($blocked, 5), 1, 'one who waits for room');
	push @slept, time - $start;
}
cmp_ok(median(@slept), '<', 0.5, 'is woken by it');

# What a prepared transaction makes of the totals is put right.
$db->do("SELECT queue.create('pre', max_messages => 5)");
$db->begin_work;
$db->do("SELECT queue.enqueue_batch('pre', array_fill('1'::jsonb, ARRAY[5]))");
$db->do("PREPARE TRANSACTION 'pre'");
$db->do("ROLLBACK PREPARED 'pre'");
ok(wait_for_true(20, sub {
		!defined state_of($db, "SELECT queue.enqueue_batch('pre', array_fill('1'::jsonb, ARRAY[5]))");
	}), 'a rolled back prepared send gives room');
$db->begin_work;
$db->do("SELECT queue.pop('pre', 5)");
$db->do("PREPARE TRANSACTION 'pre'");
is(state_of($db, "SELECT queue.enqueue('pre')"), '53400',
	'a prepared pop does not give room');
$db->do("COMMIT PREPARED 'pre'");
ok(wait_for_true(20, sub { !defined state_of($db, "SELECT queue.enqueue('pre')") }),
	'when it has committed it does');

# Many processes send the same ids, as retries do: each is stored once.  The
# tables of the ids are switched meanwhile, whenever nobody reads the old one.
$db->do("SELECT queue.create('ded', dedup_window => '2 s')");
my $stop = $node->data_dir . '/stop_retrying';
my $start = time;
my @retriers = map {
	my $n = $_;
	spawn(sub {
		my $own = connect_db($node, must => 1);
		srand $n;
		while (!-e $stop)
		{
			# all processes send the ids of one half second
			my $slot = int(time * 2);
			for my $id (1 .. 5)
			{
				$own->begin_work;
				my $ok = eval {
					$own->do("SELECT queue.enqueue('ded', to_jsonb('$slot.$id'::text), dedup_id => '$slot.$id')");
					1;
				};
				$ok && rand() < 0.8 ? $own->commit : $own->rollback;
			}
		}
	})
} 1 .. 5;
my %class_tables = map { $_ => 1 } qw(dedup_minutes_a dedup_minutes_b);
my ($switches, $last, $largest) = (0, -1, 0);
my $classes = value($db, "SELECT pg_relation_size('pg_class')");
while (time < $start + 12 || ($switches < 2 && time < $start + 90))
{
	my $current = value($db, 'SELECT current FROM queue.dedup_def WHERE class = 0') // 0;
	$switches++ if $last >= 0 && $current != $last;
	$last = $current;
	for my $table (keys %class_tables)
	{
		my $size = value($db, "SELECT pg_relation_size('queue.$table')");
		$largest = $size if $size > $largest;
	}
	sleep 0.2;
}
open(my $file, '>', $stop) or die "cannot write $stop: $!";
close($file);
ok(finish(@retriers), 'senders with dedup_ids');
is(value($db, 'SELECT count(*) FROM (SELECT body FROM queue.ded GROUP BY 1 HAVING count(*) > 1) x'),
	0, 'no id was stored twice');
cmp_ok(in_queue('ded'), '>', 50, 'they were stored');
cmp_ok($switches, '>=', 2, "the tables were switched: $switches times");
cmp_ok(value($db, "SELECT pg_relation_size('pg_class')") - $classes, '<=', 131072,
	'pg_class has not grown much');

# The tables do not grow: what is older than two windows is gone.
my @sizes;
for my $round (1 .. 4)
{
	$db->do("SELECT queue.enqueue_batch('ded', array_fill('1'::jsonb, ARRAY[2000]),
		dedup_ids => (SELECT array_agg('$round.' || g) FROM generate_series(1, 2000) g))");
	my $before = value($db, 'SELECT current FROM queue.dedup_def WHERE class = 0');
	wait_for_true(15, sub { value($db, 'SELECT current FROM queue.dedup_def WHERE class = 0') != $before });
	push @sizes, value($db, "SELECT pg_relation_size('queue.dedup_minutes_a') + pg_relation_size('queue.dedup_minutes_b')");
}
cmp_ok($sizes[3], '<=', $sizes[1] + 65536, "their size is bounded: @sizes");

# The tables are switched after one sender has looked, and before he enters his
# id; another one with the same id enters it in the new one.
my $slow = connect_db($node, must => 1);
for my $case ([ 7, 'race', "queue.enqueue('ded', '7', dedup_id => 'race')" ],
	[ 8, 'race 2', "(queue.enqueue_batch('ded', '{8,9}',
		dedup_ids => '{race 2,race 3}'))[1]" ])
{
	my ($body, $id, $form) = @$case;
	ok(wait_for_true(30, sub { value($db, "SELECT pg_relation_size('queue.dedup_minutes_a') + pg_relation_size('queue.dedup_minutes_b') = 0") }),
		'both tables are emptied');
	stop_at($node, $slow, 'dedup');
	my $late = begin_call($slow, "SELECT $form");
	reached($node, 'dedup');
	my $old = value($db, 'SELECT current FROM queue.dedup_def WHERE class = 0');
	$db->do("SELECT queue.enqueue('ded', '0', dedup_id => 'for $id')");
	ok(wait_for_true(15, sub { value($db, 'SELECT current FROM queue.dedup_def WHERE class = 0') != $old }),
		'a switch while a sender is about to enter his id');
	sleep 0.2;
	my $winner = value($db, "SELECT queue.enqueue('ded', '$body', dedup_id => '$id')");
	release($node, 'dedup');
	is(end_call($late), $winner, 'he finds the one who entered it meanwhile');
	is(value($db, "SELECT count(*) FROM queue.ded WHERE body = '$body'"), 1,
		'and one message is stored');
}

# An id counts across a switch, and after a crash.
$db->do("SELECT queue.create('long', dedup_window => '4 min')");
my $first = value($db, "SELECT queue.enqueue('long', '1', dedup_id => 'x')");
my $before = value($db, 'SELECT current FROM queue.dedup_def WHERE class = 0');
ok(wait_for_true(15, sub { value($db, 'SELECT current FROM queue.dedup_def WHERE class = 0') != $before }),
	'a switch');
is(value($db, "SELECT queue.enqueue('long', '2', dedup_id => 'x')"), $first,
	'an id counts after it');
$node->append_conf('postgresql.conf', 'queue.debug_dedup_period = 0');
$node->reload;
sleep 0.5;
$first = value($db, "SELECT queue.enqueue('long', '3', dedup_id => 'y')");
$db = crash_and_reconnect($node, $db);
is(value($db, "SELECT queue.enqueue('long', '4', dedup_id => 'y')"), $first,
	'an id counts after a crash');

# The active session ends by SIGTERM: the one that waits is served.  A crash of
# the server forgets it.
$db->do("SELECT queue.create('sin', single_active => true)");
my $other = connect_db($node, must => 1);
$other->do("SELECT FROM queue.dequeue('sin')");
my $pid = value($other, 'SELECT pg_backend_pid()');
is(column($db, "SELECT body FROM queue.dequeue('sin')"), 0, 'another one is not served');
my $waiter = spawn(sub {
	my $own = connect_db($node, must => 1);
	my @got = column($own, "SELECT body FROM queue.dequeue('sin', wait => '20 s')");
	die 'nothing came' unless @got == 1;
});
wait_for_true(10, sub { value($db, "SELECT count(*) FROM queue.consumers WHERE queue = 'sin' AND state = 'waiting'") == 1 });
$db->do("SELECT queue.enqueue('sin', '1')");
$db->do("SELECT pg_terminate_backend($pid)");
ok(finish($waiter), 'the one that waits is served when the active one is terminated');
$other = connect_db($node, must => 1);
wait_for_true(10, sub {
	$other->do("SELECT FROM queue.dequeue('sin')");
	value($other, "SELECT count(*) FROM queue.consumers WHERE queue = 'sin' AND single_active") == 1 });
$db = crash_and_reconnect($node, $db);
$db->do("SELECT queue.enqueue('sin', '2')");
is(column($db, "SELECT body FROM queue.dequeue('sin')"), 1, 'a crash forgets the active session');

# Leases of a session that is killed, and of before a crash and a restart.
$db->do("SELECT queue.create('rel', visibility_timeout => '1 h')");
for my $how ('terminate', 'client gone', 'crash', 'restart')
{
	$db->do("SELECT queue.purge('rel')");
	$db->do("SELECT queue.enqueue('rel', '1')");
	$db->do("SELECT queue.enqueue('rel', '2')");
	my $holder = connect_db($node, must => 1);
	$holder->do('SET queue.release_on_disconnect = on');
	$holder->do("SELECT FROM queue.dequeue('rel')");
	$holder->do('SET queue.release_on_disconnect = off');
	$db->do("SELECT FROM queue.dequeue('rel')");
	if ($how eq 'terminate')
	{
		$db->do('SELECT pg_terminate_backend(' . value($holder, 'SELECT pg_backend_pid()') . ')');
	}
	elsif ($how eq 'client gone') { $holder->disconnect }
	elsif ($how eq 'crash')
	{
		# the leases must be on disk to survive it
		$db->do('CHECKPOINT');
		$db = crash_and_reconnect($node, $db);
	}
	else
	{
		$db->disconnect;
		undef $holder;
		$node->restart;
		$db = connect_db($node, must => 1);
	}
	my ($body, $failures) = $db->selectrow_array(
		"SELECT body, failures FROM queue.dequeue('rel', wait => '20 s')");
	is($body, 1, "$how: the message is back");
	is($failures, 1, "$how: with a failure");
	is(column($db, "SELECT body FROM queue.dequeue('rel', wait => '0.3 s')"), 0,
		"$how: a lease taken without the setting stays");
}

done_testing();
