# Several consumers that wait at the same time: n messages reach n of them,
# whatever made the messages claimable, and a wake-up is not lost with the
# consumer that it went to.
use strict;
use warnings;

use DBD::Pg qw(:async);
use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

# Failed messages shall come back soon.
my $node = new_server('waiters');
my $db = connect_db($node, must => 1);
$db->do("SELECT queue.create(q, visibility_timeout => '1 h',
	retry_delay => '0.1 s', retry_backoff => 'none')
	FROM unnest(ARRAY['a', 'b', 'c']) q");
my @sessions = map { connect_db($node, must => 1) } 1 .. 4;
my @pids = map { $_->{pg_pid} } @sessions;

# Starts a statement in session $n and returns at once.
sub launch
{
	my ($n, $sql) = @_;
	my $sth = $sessions[$n]->prepare($sql, { pg_async => PG_ASYNC });
	$sth->execute;
	$sessions[$n]->{private_sth} = $sth;
	return;
}

# Returns when the sessions wait.
sub await
{
	my @waiting = @pids[@_];
	wait_for_true(20, sub {
		value($db, "SELECT count(DISTINCT pid) FROM queue.consumers
			WHERE state = 'waiting' AND pid = ANY (?)", \@waiting) == @waiting })
	  or BAIL_OUT('a consumer does not wait');
	return;
}

# Starts a statement that waits, in session $n, and returns when it does.
sub start
{
	my ($n, $sql) = @_;
	launch($n, $sql // "SELECT body FROM queue.dequeue('a', wait => '30 s')");
	await($n);
	return;
}

# What the statement in session $n returned: the first column of its rows, or
# its SQLSTATE; "waiting" when it does not end in time.
sub result
{
	my ($n, $seconds) = @_;
	my $session = $sessions[$n];
	wait_for_true($seconds, sub { $session->pg_ready }) or return 'waiting';
	my $sth = delete $session->{private_sth};
	my $rows = eval { $session->pg_result };
	# DBD::Pg 3.21 returns from a canceled statement as if it had no rows
	return $session->state if !defined $rows || $session->state;
	return join ' ', map { $_->[0] } @{ $sth->fetchall_arrayref };
}

# Results of all, those without a message last; within a second.
sub results
{
	my @all = map { result($_, 1) } @_;
	return join ' ', sort @all;
}

sub renew
{
	my ($n) = @_;
	eval { $sessions[$n]->disconnect };
	$sessions[$n] = connect_db($node, must => 1);
	$pids[$n] = $sessions[$n]->{pg_pid};
	return;
}

sub send_to
{
	my ($queue, @bodies) = @_;
	$db->do('SELECT queue.enqueue_batch(?, ?::jsonb[])', undef, $queue,
		\@bodies);
	return;
}

sub clear
{
	$db->do('SELECT queue.purge(queue) FROM queue.queues');
	return;
}

sub cancel
{
	my ($n) = @_;
	$db->do('SELECT pg_cancel_backend(?)', undef, $pids[$n]);
	return result($n, 1);
}

# One commit, and its messages lie on one page.
start($_) for 0, 1;
send_to('a', 1, 2);
is(results(0, 1), '1 2', 'two consumers, two messages of one commit');
clear();

start($_) for 0 .. 3;
send_to('a', 1, 2);
my @ready = grep { wait_for_true(0.7, sub { $sessions[$_]->pg_ready }) }
  0 .. 3;
is(scalar @ready, 2, 'of four consumers, two get the two messages');
is("@ready", '0 1', 'those that have waited longest');
send_to('a', 3);
send_to('a', 4);
is(results(0 .. 3), '1 2 3 4', 'the others the next two');
clear();

# What makes them claimable does not matter.
start($_) for 0, 1;
$db->do("SELECT queue.enqueue_batch('a', '{1,2}', delay => '0.3 s')");
sleep 0.3;
is(results(0, 1), '1 2', 'two delayed messages');
clear();

send_to('a', 1, 2);
$db->do("SELECT queue.dequeue('a', max => 2, visibility => '0.5 s')");
start($_) for 0, 1;
sleep 0.5;
is(results(0, 1), '1 2', 'two expired leases');
clear();

for my $sql ('dequeue', 'pop')
{
	send_to('a', 1, 2);
	$db->begin_work;
	$db->do("SELECT FROM queue.$sql('a', max => 2)");
	# the connection is in a transaction: starting looks from another one
	my $outer = $db;
	$db = connect_db($node, must => 1);
	start($_) for 0, 1;
	$outer->rollback;
	$outer->disconnect;
	is(results(0, 1), '1 2', "two messages back by rollback of $sql");
	is(value($db, 'SELECT sum(failures) FROM queue.a'), 2,
		'with a failure each');
	clear();
}

my @receipts;
sub lease_two
{
	send_to('a', 1, 2);
	@receipts = column($db, "SELECT receipt FROM queue.dequeue('a', 2)");
	start($_) for 0, 1;
	return;
}
lease_two();
$db->do("SELECT queue.nack_batch('a', ?::bigint[], delay => '0')", undef,
	\@receipts);
is(results(0, 1), '1 2', 'two messages nacked');
clear();
lease_two();
$db->do("SELECT queue.release('a', ?)", undef, $_) for @receipts;
is(results(0, 1), '1 2', 'two messages released one after the other');
clear();

# Events without a callback: the worker has to notice.
sub prepare_two
{
	my ($sql) = @_;
	my $other = connect_db($node, must => 1, transactions => 1);
	$other->do($sql);
	$other->do("PREPARE TRANSACTION 'two'");
	$other->{AutoCommit} = 1;
	$other->disconnect;
	start($_) for 0, 1;
	return;
}
prepare_two("SELECT queue.enqueue_batch('a', '{1,2}')");
$db->do("COMMIT PREPARED 'two'");
is(join(' ', sort map { result($_, 3) } 0, 1), '1 2',
	'two messages by COMMIT PREPARED');
clear();
send_to('a', 1, 2);
prepare_two("SELECT queue.pop('a', 2)");
$db->do("ROLLBACK PREPARED 'two'");
is(join(' ', sort map { result($_, 3) } 0, 1), '1 2',
	'two messages back by ROLLBACK PREPARED of a pop');
clear();
send_to('a', 1, 2);
@receipts = column($db,
	"SELECT receipt FROM queue.dequeue('a', 2, visibility => '0.1 s')");
prepare_two("SELECT queue.ack_batch('a', '{$receipts[0],$receipts[1]}')");
sleep 0.2;
$db->do("ROLLBACK PREPARED 'two'");
is(join(' ', sort map { result($_, 3) } 0, 1), '1 2',
	'two messages back by ROLLBACK PREPARED of acks after the lease');
clear();
send_to('a', 1, 2);
my $locker = connect_db($node, must => 1);
$locker->begin_work;
$locker->do('SELECT FROM queue.a FOR SHARE');
start($_) for 0, 1;
$locker->rollback;
is(join(' ', sort map { result($_, 3) } 0, 1), '1 2',
	'two messages that somebody had locked');
clear();

# A consumer that was woken and is gone before it could take the message.  It
# is stopped, so that it is woken and can do nothing about it.
for my $end ('cancel', 'terminate')
{
	start($_) for 0, 1;
	kill 'STOP', $pids[0];
	send_to('a', 1);
	$db->do("SELECT pg_${end}_backend(?)", undef, $pids[0]);
	kill 'CONT', $pids[0];
	is(result(1, 1), '1', "a wake-up is passed on by who gets a $end");
	my $state = result(0, 1);
	like($state, $end eq 'cancel' ? qr/^57014$/ : qr/^(57P01|08\d\d\d)$/,
		'who gets an error');
	renew(0);
	clear();
}
$sessions[0]->do("SET statement_timeout = '0.5 s'");
start($_) for 0, 1;
kill 'STOP', $pids[0];
sleep 0.5;
send_to('a', 1);
kill 'CONT', $pids[0];
my @both = (result(0, 1), result(1, 1));
ok($both[0] eq '57014' && $both[1] eq '1',
	'and by who runs into its statement_timeout');
diag "got @both" unless $both[1] eq '1';
renew($_) for 0, 1;
clear();

# ... and by who was woken for another queue, or waits for both.
start(0, "SELECT queue || body FROM queue.dequeue_any('{a,b}', wait => '30 s')");
start(1, "SELECT body FROM queue.dequeue('b', wait => '30 s')");
send_to('a', 1);
is(result(0, 1), 'a1', 'dequeue_any gets what came to its first queue');
ok(!$sessions[1]->pg_ready, 'and nobody else is disturbed');
send_to('b', 2);
is(result(1, 1), '2', 'who waits for the other goes on');
start(0, "SELECT queue || body FROM queue.dequeue_any('{a,b}', max => 5, wait => '30 s')");
start(1, "SELECT body FROM queue.dequeue('a', wait => '30 s')");
start(2, "SELECT body FROM queue.dequeue('b', wait => '30 s')");
kill 'STOP', $pids[0];
send_to('a', 4);
send_to('b', 5);
$db->do('SELECT pg_cancel_backend(?)', undef, $pids[0]);
kill 'CONT', $pids[0];
is(result(0, 1), '57014', 'dequeue_any is woken for two queues and canceled');
is(results(1, 2), '4 5', 'both messages reach somebody');
clear();

# Whatever way wake-ups and looks cross: in each round there are as many
# messages as consumers, and however they are dealt out, each can have one.
my @rounds = (
	[ [ '{a,b,c}', '{b,c,a}', '{c,a,b}' ], 'c', 'a', 'b' ],
	[ [ ('{b}') x 3 ], ('b') x 3 ]);
my $rounds = 0;
for my $round (1 .. 150)
{
	my ($sets, @to) = @{ $rounds[$round % 2] };
	launch($_, "SELECT 1 FROM queue.dequeue_any('$sets->[$_]', wait => '30 s')")
	  for 0 .. 2;
	await(0 .. 2);
	send_to($_, 1) for @to;
	my $got = join ' ', map { result($_, 5) } 0 .. 2;
	last if $got ne '1 1 1' && diag("round $round, sent to @to: $got");
	$rounds++;
}
is($rounds, 150, 'as many wake-ups as messages in every round');
renew($_) for 0 .. 2;
clear();

# A pop wakes up for what it cannot take, and takes it with the next call.
start($_, "SELECT body FROM queue.pop('a', wait => '30 s')") for 0, 1;
send_to('a', 1, 2);
is(results(0, 1), ' ', 'two pops end without a row');
is(value($db, 'SELECT count(*) FROM queue.a'), 2, 'nothing is lost');
is(value($sessions[$_], "SELECT body FROM queue.pop('a', wait => '1 s')"),
	$_ + 1, 'the next call has it') for 0, 1;
clear();

# Who waits with receive() holds no snapshot, in a transaction block or not.
sub holds_snapshot
{
	my ($n) = @_;
	return value($db, 'SELECT backend_xmin IS NOT NULL FROM pg_stat_activity
		WHERE pid = ?', $pids[$n]) ? 1 : 0;
}
for my $block (0, 1)
{
	my $where = $block ? ' in a transaction block' : '';
	$sessions[$_]->do('BEGIN') for $block ? (0, 1) : ();
	start(0, "CALL queue.receive('a', wait => '30 s')");
	start(1, "SELECT body FROM queue.dequeue('a', wait => '30 s')");
	ok(!holds_snapshot(0), "receive() waits without a snapshot$where");
	ok(holds_snapshot(1), "dequeue() with one$where");
	send_to('a', 1, 2);
	my ($received) = result(0, 1) =~ /^\{"\(\d+,-?\d+,(\d)/;
	is(join(' ', sort $received // 'none', result(1, 1)), '1 2',
		'both get a message');
	$sessions[$_]->do('COMMIT') for $block ? (0, 1) : ();
	clear();
}

# The end of the wait, and of the queue.
start(0);
is(cancel(0), '57014', 'cancel ends a wait');
start($_) for 0 .. 3;
my $start = time;
$db->do("SELECT queue.drop('a')");
cmp_ok(time - $start, '<', 1, 'four waiting consumers do not hold up DROP');
is(results(0 .. 3), join(' ', ('42704') x 4), 'and are told');
start($_, "SELECT body FROM queue.dequeue('b', wait => '30 s')") for 0 .. 3;
$db->do("SELECT queue.pause('b', enqueue => false)");
is(results(0 .. 3), join(' ', ('55000') x 4), 'PAUSE is told to all as well');
$db->do("SELECT queue.resume('b')");
start(0, "SELECT body FROM queue.dequeue('b', wait => '30 s')");
send_to('b', 1);
is(result(0, 1), '1', 'and after RESUME it goes on');

# A message becomes due on a page that was ready before, for somebody else.
start(0, "SELECT body FROM queue.dequeue('c', wait => '30 s',
	filter => '{\"a\": 1}')");
$db->do("SELECT queue.enqueue('c', '1')");
# until it sleeps again
sleep 0.5;
$db->do("SELECT queue.enqueue('c', '2', headers => '{\"a\": 1}',
	delay => '0.5 s')");
is(result(0, 5), '2', 'what becomes due beside what is ready is announced');
$db->do("SELECT queue.purge('c')");

# Who goes away without a word leaves nothing behind.
start(0, "SELECT body FROM queue.dequeue('b', wait => '30 s')");
start(1, "SELECT body FROM queue.dequeue('b', wait => '30 s')");
$db->do('SELECT pg_terminate_backend(?)', undef, $pids[0]);
result(0, 1);
is(value($db, "SELECT count(*) FROM queue.consumers WHERE state = 'waiting'"),
	1, 'a terminated consumer waits no more');
send_to('b', 2);
is(result(1, 1), '2', 'and is not counted on');

is(crashed($node), '', 'no crash');
done_testing();
