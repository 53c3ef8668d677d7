# Nothing bloats: a million messages pass through a queue while somebody holds
# an old snapshot; the queue's tables stay small, and a claim takes as long at
# the end as at the beginning.
use strict;
use warnings;

use QueueTest;
use Test::More;
use POSIX ();
use Time::HiRes qw(sleep time);

my $grace = 1;
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

	my $peak = 0;
	my $began = time;
	my @pids = start_pump($node, $q, $run, $sessions, $n, $size, 0.004);
	my @running = @pids;
	while (@running)
	{
		my $bytes = queue_bytes($db, $q) - $empty;
		$peak = $bytes if $bytes > $peak;
		sleep 0.1;
		@running = grep { waitpid($_, POSIX::WNOHANG()) == 0 } @running;
	}
	my $seconds = time - $began;
	my $passed = value($db, 'SELECT sum(taken) FROM claims WHERE run = ?', $run)
	  + drain($db, $q);
	is($passed, $sessions * $n * $size, 'a million messages passed');

	# A message stays on disk until the worker, which comes once a second,
	# has closed its segment, found it drained, waited for the grace, and
	# truncated it: four turns and the grace.  Meanwhile others come, at 250
	# bytes each.  Without truncation it would be all of them.
	my $rate = $passed / $seconds;
	my $bound = 250 * $rate * ($grace + 4) + 8 * 1024 * 1024;
	note sprintf '%.1f s, %.0f messages/s, peak %.1f MB, bound %.1f MB',
	  $seconds, $rate, $peak / 1048576, $bound / 1048576;
	cmp_ok($bound, '<', 0.6 * 200 * $passed,
		'the bound would be missed without truncation');
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
