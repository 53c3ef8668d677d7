#!/usr/bin/perl
# Take files from the queue, store their SHA-256 together with the ack.
#
# usage: consumer.pl NAME
#
# Runs until SIGTERM. consumer.py does the same in Python.
use strict;
use warnings;

use DBI;
use Digest::SHA;

my ($name) = @ARGV;
my $stop = 0;
local $SIG{TERM} = sub { $stop = 1 };

my $db = DBI->connect("dbi:Pg:application_name=$name",
	undef, undef, { AutoCommit => 1, RaiseError => 1, PrintError => 0 });

my $claim = $db->prepare(q{
	SELECT receipt, convert_to(body->>'path', 'UTF8'), deliveries
	FROM queue.dequeue('files', max => 10, wait => '500 ms')});

# The result and the ack commit together. A message whose lease went to
# another consumer in the meantime is not acked, and then not stored either.
my $store = $db->prepare(q{
	INSERT INTO digest (path, sha256, consumer, deliveries)
	SELECT convert_from($2::bytea, 'UTF8'), $3, $4, $5::int
	WHERE queue.ack('files', $1::bigint)});
$store->bind_param(2, undef, { pg_type => DBD::Pg::PG_BYTEA() });

until ($stop)
{
	$claim->execute;
	my $messages = $claim->fetchall_arrayref;
	next unless @$messages;

	# Claimed, and that is committed; now the work; then its result.
	for my $message (@$messages)
	{
		my $path = $message->[1];
		push @$message, Digest::SHA->new(256)->addfile($path, 'b')->hexdigest;
	}
	$db->begin_work;
	for my $message (@$messages)
	{
		my ($receipt, $path, $deliveries, $sha256) = @$message;
		$store->execute($receipt, $path, $sha256, $name, $deliveries);
	}
	$db->commit;
}
$db->disconnect;
