# What the view stats shows is right also while the worker looks at the pages
# that it counts.
use strict;
use warnings;

use Hazard;
use QueueTest;
use Test::More;

my $node = new_server('stats');
my $db = connect_db($node, must => 1);
need_debug_build($db);
my $reader = connect_db($node, must => 1);

# The worker refreshes the facts in the middle of the count.
$db->do("SELECT queue.create('work', visibility_timeout => '1 h')");
my $worker = pause_worker($node);
$db->do("SELECT queue.enqueue_batch('work', array_fill('1'::jsonb, ARRAY[5000]))");
$db->do("SELECT FROM queue.dequeue('work', 1000)");
stop_at($node, $reader, 'stats_counted');
my $call = begin_call($reader,
	"SELECT format('%s %s', ready, leased) FROM queue.stats");
reached($node, 'stats_counted');
continue_worker($worker);
ok(wait_for_true(20, sub { value($db, "SELECT sum(live) = 5000
	FROM queue.segments WHERE queue = 'work'") }), 'the worker has looked');
release($node, 'stats_counted');
is(end_call($call), '4000 1000', 'nothing is counted twice');
is(value($db, 'SELECT total FROM queue.stats'), 5000, 'nor later');

done_testing();
