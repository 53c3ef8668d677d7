# A receipt proves one delivery and nothing else: not after VACUUM or VACUUM
# FULL gave its address to another message, and not when it is made up.
use strict;
use warnings;

use QueueTest;
use Test::More;

my $node = new_server('receipts');
my $db = connect_db($node, must => 1);
$db->do('CREATE EXTENSION pageinspect');
$db->do('CREATE EXTENSION amcheck');

sub segment
{
	my ($queue) = @_;
	return value($db, "SELECT s.relation FROM queue.segment_def s
		JOIN queue.queue_def d ON d.id = s.queue_id
		WHERE d.name = ? AND s.chain = 'm' AND s.state = 'o'", $queue);
}

sub enqueue
{
	my ($queue, $n) = @_;
	return column($db, "SELECT queue.enqueue('$queue', to_jsonb(i))
		FROM generate_series(1, $n) i");
}

sub claim
{
	my ($queue, $n, $visibility) = @_;
	return column($db, 'SELECT receipt FROM queue.dequeue(?, ?, ?)', $queue,
		$n, $visibility // '1 h');
}

# None of the calls that take a receipt accepts one of these.
sub good_for_nothing
{
	my ($what, $queue, @receipts) = @_;
	is(value($db, "SELECT queue.ack_batch(?, ?)", $queue, \@receipts), 0,
		"$what: no ack");
	is(value($db, "SELECT queue.nack_batch(?, ?)", $queue, \@receipts), 0,
		"$what: no nack");
	is(value($db, "SELECT queue.release_batch(?, ?)", $queue, \@receipts), 0,
		"$what: no release");
	is(value($db, "SELECT queue.reject_batch(?, ?)", $queue, \@receipts), 0,
		"$what: no reject");
	is(value($db, "SELECT queue.extend_batch(?, ?, '1 d')", $queue,
			\@receipts), 0, "$what: no extend");
	return;
}

# An ack is repeated when its address belongs to another message by now.
$db->do("SELECT queue.create('vacuumed')");
enqueue('vacuumed', 2);
my @old = claim('vacuumed', 2);
is(value($db, "SELECT queue.ack_batch('vacuumed', ?)", \@old), 2, 'acked');
# A message that not everybody sees keeps the page open for more.
my $holder = connect_db($node, must => 1, transactions => 1);
$holder->do('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ');
value($holder, 'SELECT 1');
enqueue('vacuumed', 1);
my $table = segment('vacuumed');
$db->do("VACUUM $table");
$holder->rollback;
enqueue('vacuumed', 2);
my @new = claim('vacuumed', 3);
my %address = map { $_ >> 25 => 1 } @new;
is(scalar(grep { $address{ $_ >> 25 } } @old), 2,
	'VACUUM: the addresses are used again');
good_for_nothing('VACUUM', 'vacuumed', @old);
is(value($db, "SELECT queue.ack_batch('vacuumed', ?)", \@new), 3,
	'the new receipts are good');

# A leased message moves to the address of another.  Nobody has a receipt for
# it then, and it is delivered again when its lease is over.
$db->do("SELECT queue.create('moved')");
enqueue('moved', 3);
@old = claim('moved', 2, '2 s');
value($db, "SELECT queue.ack('moved', ?)", $old[0]);
$table = segment('moved');
$db->do("VACUUM FULL $table");
my %got;
wait_for_true(20, sub {
	$got{$_->[0]} = $_->[1] for @{ $db->selectall_arrayref(
		"SELECT id, receipt FROM queue.dequeue('moved', 10, '1 h', '1 s')") };
	keys %got == 2 });
is(scalar keys %got, 2, 'VACUUM FULL: both messages left are delivered');
good_for_nothing('VACUUM FULL', 'moved', @old);
is(value($db, "SELECT queue.ack_batch('moved', ?)", [ values %got ]), 2,
	'VACUUM FULL: the new receipts are good');

# Purged, and what comes after it.
$db->do("SELECT queue.create('purged')");
enqueue('purged', 5);
@old = claim('purged', 5);
$db->do("SELECT queue.purge('purged')");
good_for_nothing('purge', 'purged', @old);
enqueue('purged', 5);
good_for_nothing('purge, and new messages', 'purged', @old);
$db->do("SELECT queue.drop('purged', true)");
$db->do("SELECT queue.create('purged')");
enqueue('purged', 5);
good_for_nothing('dropped and created', 'purged', @old);

# Another queue's.
$db->do("SELECT queue.create('other')");
enqueue('other', 5);
my @others = claim('other', 5);
good_for_nothing("another queue's", 'purged', @others);

# Made up: for every address of a queue with messages in all states and with
# line pointers that are unused, dead, or were never there; and for any queue.
$db->do("SELECT queue.create('full')");
enqueue('full', 3000);
my @leased = claim('full', 1000);
value($db, "SELECT queue.ack_batch('full', ?)", [ @leased[ 0 .. 299 ] ]);
$table = segment('full');
$db->do("VACUUM $table");
value($db, "SELECT queue.ack_batch('full', ?)", [ @leased[ 300 .. 599 ] ]);
splice @leased, 0, 600;
value($db, "SELECT queue.reject('full', ?)", shift @leased) for 1 .. 10;
# Sets the hint bits.
value($db, 'SELECT count(*) FROM queue."full"');

my $image = "SELECT md5(string_agg(get_raw_page('$table', b::int), ''
		ORDER BY b))
	FROM generate_series(0, pg_relation_size('$table') / 8192 - 1) b";
my $pages = value($db, $image);
my $any = $leased[0];
my %forged = (
	'every address, any token' => "
		SELECT ((($any >> 52) << 52) | b << 33 | o << 25 |
			1 + (random() * 33554430)::bigint)
		FROM generate_series(0, 400) b, generate_series(0, 255) o,
			generate_series(1, 4)
		EXCEPT SELECT unnest(\$1::bigint[])",
	'every address, no token' => "
		SELECT (($any >> 52) << 52) | b << 33 | o << 25
		FROM generate_series(0, 400) b, generate_series(0, 255) o",
	'a right address, another token' => "
		SELECT r # (1 + (i * 7919) % 33554430)
		FROM unnest(\$1::bigint[]) r, generate_series(1, 500) i",
	'any number' => "
		SELECT (random() * 9223372036854775000)::bigint *
			(CASE WHEN random() < 0.5 THEN -1 ELSE 1 END)
		FROM generate_series(1, 300000)",
	'odd numbers' => "
		SELECT unnest(ARRAY[0, 1, -1, 9223372036854775807,
			-9223372036854775808, 33554431, 33554432]::bigint[])");
for my $what (sort keys %forged)
{
	for my $call ('ack_batch(q, r)', 'nack_batch(q, r)',
		"extend_batch(q, r, '1 s')")
	{
		is(value($db, "SELECT queue.$call FROM (SELECT 'full' AS q,
			ARRAY($forged{$what}) AS r) x" .
			($forged{$what} =~ /\$1/ ? '' : ' WHERE $1::bigint[] IS NOT NULL'),
			\@leased), 0, "$call with $what: none is accepted");
	}
}
is(value($db, $image), $pages, 'not a bit of the pages has changed');
is(value($db, "SELECT count(*) FROM verify_heapam('$table')"), 0,
	'the table is sound');
is(value($db, "SELECT queue.ack_batch('full', ?)", \@leased), scalar @leased,
	'the true ones are good');
is(crashed($node), '', 'no crash');
done_testing();
