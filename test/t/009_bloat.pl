# Nothing bloats: a million messages pass through a queue while somebody holds
# an old snapshot; the queue's tables stay small, and a claim takes as long at
# the end as at the beginning.
use strict;
use warnings;

use QueueTest;
use Test::More;
use POSIX ();
use Time::HiRes qw(sleep time);

my $grace = 2;
my ($sessions, $n, $size) = (2, 5000, 100);
my $node = new_server('bloat', conf => [
	"queue.truncate_grace = $grace", 'queue.segment_size = 1MB',
	'shared_buffers = 256MB', 'max_wal_size = 4GB', 'log_checkpoints = off' ]);
my $db = connect_db($node, must => 1);
create_pump($db);

my $holder = connect_db($node, must => 1, transactions => 1);
$holder->do('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ');
is(value($holder, 'SELECT count(*) FROM claims'), 0, 'a snapshot is taken');
my $empty;
my $ratio;

for my $run (1 .. 3)
{
	my $q = "q$run";
	$db->do("SELECT queue.create('$q')");
	$empty //= queue_bytes($db, $q);

	my ($peak, $fastest) = (0, 0);
	my $began = time;
	my ($before_id, $before) = (1, $began);
	my @pids = start_pump($node, $q, $run, $sessions, $n, $size);
	while ((grep { kill 0, $_ } @pids) && time < $began + 300)
	{
		my $bytes = queue_bytes($db, $q) - $empty;
		$peak = $bytes if $bytes > $peak;
		my ($id, $now) = (value($db, 'SELECT sum(taken) FROM claims
			WHERE run = ?', $run) // 0, time);
		if ($now > $before + 1)
		{
			my $rate = ($id - $before_id) / ($now - $before);
			$fastest = $rate if $rate > $fastest;
			($before_id, $before) = ($id, $now);
		}
		sleep 0.1;
		last if waitpid(-1, POSIX::WNOHANG()) == -1;
	}
	my $seconds = time - $began;
	my $passed = value($db, 'SELECT sum(taken) FROM claims WHERE run = ?', $run)
	  + drain($db, $q);
	is($passed, $sessions * $n * $size, 'a million messages passed');

	# A page of messages lives until the worker, which comes once a second,
	# has closed its segment, found it drained, waited for the grace, and
	# truncated it.  In that time more come at the fastest rate seen.  A
	# message takes less than 250 bytes.
	my $bound = 250 * $fastest * ($grace + 4) + 16 * 1024 * 1024;
	note sprintf '%.1f s, at most %.0f messages/s, peak %.1f MB, bound %.1f MB',
	  $seconds, $fastest, $peak / 1048576, $bound / 1048576;
	cmp_ok($peak, '<', $bound, 'all that is on disk stays below the bound');
	ok(wait_for_true($grace + 15, sub {
		queue_bytes($db, $q) - $empty < 8 * 1024 * 1024 }),
		'and is next to nothing soon after, under the same snapshot')
	  or diag(queue_bytes($db, $q));
	is(value($holder, 'SELECT count(*) FROM claims'), 0,
		'which was held all the time');

	$ratio = claim_ratio($db, $run, $n);
	last if $ratio <= 1.2;
}
cmp_ok($ratio, '<=', 1.2, 'claims take as long as at the beginning');
$holder->rollback;
is(crashed($node), '', 'no crash');
done_testing();
