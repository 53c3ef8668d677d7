# After crashes in load, amcheck and pg_checksums find nothing to complain of
# in a queue's tables.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use QueueTest;
use Test::More;
use Time::HiRes qw(sleep);

my $node = new_server('integrity', init => { extra => ['--data-checksums'] },
	conf => [ 'queue.segment_size = 1MB', 'queue.truncate_grace = 0',
		'checkpoint_timeout = 30s', 'wal_consistency_checking = all' ]);
$node->safe_psql('postgres', 'CREATE EXTENSION amcheck;
	CREATE EXTENSION pg_visibility');
my $visible = 0;
create_load($node, 'load');

sub sound
{
	my ($what) = @_;
	my $db = connect_db($node, must => 1);
	my $tables = 0;
	my @bad;
	for my $table (column($db, "SELECT relation FROM queue.segment_def
		UNION SELECT 'queue.queue_def'::regclass
		UNION SELECT 'queue.segment_def'::regclass
		UNION SELECT 'queue.forwarding'::regclass"))
	{
		# A rotation may have the table for itself, or take its file away.
		push @bad, column($db, "SELECT concat_ws(' ', blkno, offnum, msg)
			FROM verify_heapam(?, on_error_stop => false)", $table);
		$tables++;
	}
	note "$what: $tables tables";
	is("@bad", '', "$what: amcheck finds nothing");
	$db->disconnect;
	return;
}

my $load = start_load($node, 'load');
for my $crash (1 .. 2)
{
	sleep 2;
	crash_server($node, all => 1);
	start_again($node);
	ok(wait_for_worker($node), "crash $crash: the worker is there again");
}
sleep 1;
ok(stop_load($load), 'no consumer got a message that was done already');
sound('after two crashes');
check_load($node, $load, 'after two crashes');
sound('drained');
is(crashed($node), '', 'no crash but those');

# Several messages at once of pages that are all-visible, no image of which is
# in the WAL: recovery comes by each state that the server itself has logged.
my $db = connect_db($node, must => 1);
$db->do('CHECKPOINT');
for my $call ('SELECT queue.ack_batch(q, array_agg(receipt))
		FROM queue.dequeue(q, 30)',
	'SELECT count(*) FROM queue.pop(q, 30)', 'SELECT queue.purge(q)')
{
	my $q = 'visible' . ++$visible;
	$db->do("SELECT queue.create('$q')");
	$db->do("SELECT queue.enqueue_batch('$q', array_agg(to_jsonb(i)))
		FROM generate_series(1, 100) i");
	my ($table) = column($db, "SELECT DISTINCT tableoid::regclass FROM queue.$q");
	ok(wait_for_true(20, sub {
		$db->do("VACUUM $table");
		value($db, "SELECT all_visible FROM pg_visibility_map('$table', 0)")
	}), 'a page is all-visible');
	value($db, $call =~ s/\bq\b/'$q'/gr);
	is(value($db, "SELECT all_visible FROM pg_visibility_map('$table', 0)"), 0,
		'... and is not after a delete');
}
$db->disconnect;
crash_server($node, all => 1);
start_again($node);
is(crashed($node), '', 'recovery finds the pages as they were');
$node->stop;
command_ok([ 'pg_checksums', '--check', '-D', $node->data_dir ],
	'checksums are right');
done_testing();
