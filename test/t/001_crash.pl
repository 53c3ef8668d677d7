# Crashes in load: whatever dies, postmaster, whole server or one consumer's
# backend, every message that was committed and not acked is delivered, and
# none that was acked or rolled back is.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use QueueTest;
use Test::More;
use Time::HiRes qw(sleep);

# Small segments, soon truncated: the crashes shall meet rotation as well.
my $node = new_server('crash', conf => [
	'queue.segment_size = 1MB', 'queue.truncate_grace = 0',
	'checkpoint_timeout = 30s' ]);
create_load($node, 'load');

# A consumer's backend, in load.
sub consumer_pid
{
	my $db = connect_db($node) or return;
	return value($db, "SELECT pid FROM pg_stat_activity
		WHERE query LIKE '%dequeue%' AND pid <> pg_backend_pid()
		AND backend_type = 'client backend' ORDER BY random() LIMIT 1");
}

sub server_answers
{
	my $db = connect_db($node) or return;
	return value($db, "SELECT pg_postmaster_start_time() IS NOT NULL");
}

my @crashes = (
	[ 'postmaster killed', sub { crash_server($node); start_again($node) } ],
	[ 'all processes killed',
		sub { crash_server($node, all => 1); start_again($node) } ],
	[ 'immediate shutdown', sub { $node->stop('immediate'); $node->start } ],
	[ "a consumer's backend killed", sub {
		my $pid = wait_for_true(30, \&consumer_pid);
		my $before = () = server_log($node) =~ /terminated by signal 9/g;
		kill 'KILL', $pid;
		wait_for_true(60, sub {
			(() = server_log($node) =~ /terminated by signal 9/g) > $before })
		  or BAIL_OUT('the killed backend was not noticed');
		wait_for_true(60, \&server_answers);
	} ],
	[ 'consumers terminated', sub {
		for (1 .. 10)
		{
			my $pid = wait_for_true(30, \&consumer_pid);
			connect_db($node)->do("SELECT pg_terminate_backend($pid)");
			sleep 0.05;
		}
	} ],
	[ 'all processes killed again',
		sub { crash_server($node, all => 1); start_again($node) } ]);

my $load = start_load($node, 'load');
for my $crash (@crashes)
{
	my ($what, $do) = @$crash;
	sleep 2;
	$do->();
	ok(wait_for_worker($node), "$what: the worker is there again");
}
sleep 1;
ok(stop_load($load), 'no consumer got a message that was done already');
check_load($node, $load, 'after six crashes');
is(crashed($node), '', 'no crash but those');

# Recovery of a server that nobody used since.
crash_server($node, all => 1);
start_again($node);
my $db = connect_db($node, must => 1);
is(value($db, "SELECT count(*) FROM queue.dequeue('load', 10)"), 0,
	'the drained queue is empty after one more crash');

done_testing();
