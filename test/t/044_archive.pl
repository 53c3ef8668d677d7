# An archive keeps acked messages for its interval and is emptied by segments:
# it does not grow, and no message is lost or doubled by a crash between the
# queue and the archive.
use strict;
use warnings;

use QueueTest;
use Test::More;
use POSIX ();
use Time::HiRes qw(sleep time);

my $node = new_server('archive', conf => [
	'queue.segment_size = 1MB', 'queue.truncate_grace = 0',
	'shared_buffers = 128MB', 'max_wal_size = 2GB' ]);
my $db = connect_db($node, must => 1);

sub archived_bytes
{
	return value($db, "SELECT sum(bytes) FROM queue.segments
		WHERE queue = ? AND chain = 'archive'", $_[0]);
}

# More than a hundred thousand messages pass, at 6000 a second at most.
my $keep = 2;
my ($sessions, $n, $size, $pause) = (2, 800, 100, 0.03);
create_pump($db);
$db->do("SELECT queue.create('pass', archive => '$keep s')");
my $empty = queue_bytes($db, 'pass');
my $began = time;
my @running = start_pump($node, 'pass', 1, $sessions, $n, $size, $pause);
my $peak = 0;
while (@running)
{
	my $bytes = queue_bytes($db, 'pass') - $empty;
	$peak = $bytes if $bytes > $peak;
	sleep 0.1;
	@running = grep { waitpid($_, POSIX::WNOHANG()) == 0 } @running;
}
my $seconds = time - $began;
my $passed = value($db, 'SELECT sum(taken) FROM claims');
is($passed + drain($db, 'pass'), $sessions * $n * $size,
	'all messages passed');

# A message is up to 250 bytes long.  It stays until its segment is full, which
# takes a second, then for the interval and a second, and until the worker,
# which comes once a second, has seen and emptied the segment.  The other
# chains have a few segments of 1 MB.
my $rate = $passed / $seconds;
my $bound = 250 * $rate * ($keep + 1 + 4) + 6 * 1024 * 1024;
note sprintf '%.1f s, %.0f messages/s, peak %.1f MB, bound %.1f MB, all %.1f MB',
  $seconds, $rate, $peak / 1048576, $bound / 1048576, 250 * $passed / 1048576;
cmp_ok($bound, '<', 0.75 * 200 * $passed,
	'the bound would be missed without truncation');
cmp_ok($peak, '<', $bound, 'the archive stays as large as its interval');
ok(wait_for_true(5 + $keep + 15, sub { value($db,
	'SELECT count(*) FROM queue.archived(?)', 'pass') == 0 }),
	'nothing is left in it after that');
cmp_ok(archived_bytes('pass'), '<', 100_000, 'it is empty');
is(value($db, "SELECT sum(n_tup_del) FROM pg_stat_all_tables t
	JOIN queue.segments s ON s.relation = t.relid WHERE s.chain = 'archive'"),
	0, 'nothing was deleted row by row');
cmp_ok(value($db, "SELECT count(*) FROM queue.segment_def WHERE chain = 'a'"),
	'<', 40, 'tables are used again');

# What is younger than the interval is there, also after its segment is closed
# and after a restart, and goes when the archive is switched off.
$db->do("SELECT queue.create('young', archive => '1 hour')");
$db->do("SELECT queue.enqueue_batch('young', array_agg(to_jsonb(repeat('y', 500))))
	FROM generate_series(1, 5000)");
value($db, "SELECT count(*) FROM queue.pop('young', 5000)");
ok(wait_for_true(20, sub { value($db, "SELECT count(*) FROM queue.segments
	WHERE queue = 'young' AND chain = 'archive'") > 1 }),
	'a segment that is full is closed');
$db->disconnect;
$node->restart;
wait_for_worker($node);
$db = connect_db($node, must => 1);
sleep 3;
is(value($db, "SELECT count(*) FROM queue.archived('young', max => 10000)"),
	5000, 'what is young is kept');
is(value($db, "SELECT queue.replay('young', now() - interval '1 h')"), 5000,
	'and can be sent again');
is(value($db, "SELECT count(*) FROM queue.pop('young', 9999)"), 5000,
	'and received');
$db->do("SELECT queue.alter('young', archive => '0')");
ok(wait_for_true(20, sub { archived_bytes('young') < 100_000 }),
	'an archive that is switched off is emptied');
$db->do("SELECT queue.alter('young', archive => '1 h')");
$db->do("SELECT queue.enqueue('young', '1')");
value($db, "SELECT count(*) FROM queue.pop('young')");
is(value($db, "SELECT count(*) FROM queue.archived('young')"), 1,
	'and filled again when it is switched on');

# A crash in the middle of acks: each message is in the queue or in the archive.
my $messages = 20000;
$db->do("SELECT queue.create('crash', archive => '1 day',
	visibility_timeout => '1 h')");
$db->do("SELECT queue.enqueue_batch('crash', array_agg(to_jsonb(i)))
	FROM generate_series(1, $messages) i");
my @told;
for my $child (1 .. 3)
{
	my $file = $node->basedir . "/told.$child";
	push @told, [ $file, spawn(sub {
		open my $out, '>', $file or die "$file: $!";
		$out->autoflush(1);
		my $mine = connect_db($node, must => 1);
		$mine->do('SET synchronous_commit = off') if $child == 3;
		while (1)
		{
			my ($n) = $child == 2
			  ? value($mine, "SELECT count(*) FROM queue.pop('crash', 5)")
			  : value($mine, "SELECT count(*) FILTER (WHERE
					queue.ack('crash', receipt))
					FROM queue.dequeue('crash', 7)");
			last unless $n;
			print $out "$n\n" if $child != 3;
		}
	}) ];
}
ok(wait_for_true(60, sub { value($db,
	"SELECT count(*) FROM queue.archived('crash', max => 3000)") >= 3000 }),
	'acks go on');
$db = crash_and_reconnect($node, $db);
finish(map { $_->[1] } @told);
my ($total, $distinct, $kept) = $db->selectrow_array(
	"SELECT count(*), count(DISTINCT body), count(*) FILTER (WHERE a)
	   FROM (SELECT body, false AS a FROM queue.crash UNION ALL
	         SELECT body, true FROM queue.archived('crash', max => 100000)) x");
is($total, $messages, 'no message is lost or in both after a crash');
is($distinct, $messages, 'each is there once');
cmp_ok($kept, '<', $messages, 'it crashed in the middle');
my $acked = 0;
for my $told (@told)
{
	open my $in, '<', $told->[0] or die;
	$acked += $_ while <$in>;
}
cmp_ok($kept, '>=', $acked, 'what was reported as acked is archived');
is(crashed($node), '', 'no crash but ours');
$db->disconnect;

done_testing();
