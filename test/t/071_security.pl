# No privilege through any function or table of the extension: roles that may
# send, receive, browse, manage, or nothing, try all of it; the owner of a
# queue tries to have code run as somebody else.  doc/security.md says what is
# defended against what.
use strict;
use warnings;

use BadInput;
use QueueTest;
use Test::More;

# What each function needs.  A new one has to be entered here, after thought.
my %needs = (
	(map { $_ => 'send' } qw(enqueue enqueue_batch)),
	(map { $_ => 'receive' } qw(dequeue dequeue_any pop receive ack ack_batch
		nack nack_batch release release_batch reject reject_batch extend
		extend_batch cancel step_down)),
	(map { $_ => 'browse' } qw(peek get archived)),
	(map { $_ => 'manage' } qw(alter purge pause resume)),
	(map { $_ => 'owner' } qw(drop grant_access revoke_access)),
	# from one queue to another, or a schema's privilege
	(map { $_ => 'several' } qw(create move redrive replay)),
	(map { $_ => 'monitor' } qw(_stats _in_flight _segments _workers
		_consumers)),
	(map { $_ => 'nobody' } qw(_start_worker _refuse_write)));

my $node = new_server('security', conf => [ 'queue.truncate_grace = 0',
	'queue.segment_size = 1MB' ]);
my $db = connect_db($node, must => 1);
$db->do('SET client_min_messages = error');
my @functions = functions($db);
my @unknown = grep { !$needs{ $_->{name} =~ s/^queue\.|"//gr } } @functions;
is(join(' ', map { $_->{name} } @unknown), '',
	'it is known of each function who may call it');

$db->do(q{
	CREATE ROLE sender LOGIN; CREATE ROLE receiver LOGIN;
	CREATE ROLE browser LOGIN; CREATE ROLE manager LOGIN;
	CREATE ROLE nobody_at_all LOGIN; CREATE ROLE monitor LOGIN;
	CREATE ROLE mallory LOGIN; CREATE ROLE victim LOGIN;
	GRANT pg_monitor TO monitor;
	SELECT queue.create('acc', archive => '1 h');
	SELECT queue.create('private');
	SELECT queue.enqueue('private', '"secret"');
	SELECT queue.grant_access('acc', 'sender', 'send');
	SELECT queue.grant_access('acc', 'receiver', 'receive');
	SELECT queue.grant_access('acc', 'browser', 'browse');
	SELECT queue.grant_access('acc', 'manager', 'manage');});

# A session of its own for the role: RESET ROLE does not help it.
sub as_role
{
	my ($role) = @_;
	return DBI->connect(sprintf('dbi:Pg:host=%s;port=%s;dbname=postgres',
			$node->host, $node->port), $role, '',
		{ RaiseError => 1, PrintError => 0, AutoCommit => 1,
			AutoInactiveDestroy => 1 });
}

sub call
{
	my ($function, $queue) = @_;
	my @arguments;
	for my $i (0 .. $#{ $function->{names} })
	{
		my ($name, $type) = ($function->{names}[$i], $function->{types}[$i]);
		my $value = values_of($type)->[0];
		if ($name =~ /^(?:queue|queues|name|source|target|dead_letter_queue)$/)
		{
			$value = $type eq '_text' ? "ARRAY['$queue']" : "'$queue'";
		}
		elsif ($name eq 'receipts' || $name eq 'receipt' || $name eq 'id')
		{
			$value = $name eq 'receipts' ? "'{}'::int8[]" : '0';
		}
		elsif ($name eq 'role')
		{
			$value = "'victim'";
		}
		elsif ($name eq 'privilege')
		{
			$value = "'send'";
		}
		elsif ($i >= $function->{required})
		{
			next;
		}
		my $cast = $type =~ s/^_(.*)/$1\[]/r;
		push @arguments, qq{"$name" => CAST($value AS $cast)};
	}
	my $list = join ', ', @arguments;
	return $function->{kind} eq 'p' ? "CALL $function->{name}($list)"
	  : "SELECT * FROM $function->{name}($list)";
}

my %may = (
	sender => 'send', receiver => 'receive', browser => 'browse',
	manager => 'send receive browse manage', monitor => 'monitor',
	nobody_at_all => '');
for my $role (sort keys %may)
{
	my $session = as_role($role);
	my %right = map { $_ => 1 } split / /, $may{$role};
	my @wrong;
	for my $queue ('acc', 'private')
	{
		for my $function (@functions)
		{
			my $need = $needs{ $function->{name} =~ s/^queue\.|"//gr };
			next if $need eq 'several' || $function->{trigger};
			my $allowed = $right{$need}
			  && ($queue eq 'acc' || $need eq 'monitor');
			# what it did shall not be left
			$session->begin_work;
			my $done = eval { $session->do(call($function, $queue)); 1 };
			my $state = $session->state;
			$session->rollback;
			push @wrong, "$function->{name}('$queue') " .
			  ($done ? 'went through' : "gave $state")
			  if $done ? !$allowed
			  : $allowed ? $state !~ /^22/ : $state ne '42501';
		}
	}
	is(join(', ', @wrong), '', "$role: may do what was granted, no more");

	# Tables, views and sequences of the schema.
	my @open;
	for my $row (@{ $db->selectall_arrayref(q{
		SELECT c.oid::regclass::text, c.relkind FROM pg_class c
		WHERE c.relnamespace = 'queue'::regnamespace
			AND c.relkind IN ('r', 'v', 'm', 'S', 'p', 'f')}) })
	{
		my ($table, $kind) = @$row;
		my @tries = $kind eq 'S'
		  ? ("SELECT nextval('$table')", "SELECT setval('$table', 5)",
			"TABLE $table")
		  : ("SELECT 1 FROM $table", "DELETE FROM $table",
			"TRUNCATE $table", "LOCK TABLE $table",
			"COPY $table FROM '/dev/null'", "ALTER TABLE $table SET SCHEMA public",
			"CREATE TRIGGER x BEFORE INSERT ON $table
				EXECUTE FUNCTION queue._refuse_write()",
			"CREATE INDEX ON $table ((1))", "VACUUM $table",
			"INSERT INTO $table SELECT * FROM $table");
		for my $sql (@tries)
		{
			my $changes = $sql !~ /^VACUUM|^COPY/;
			$session->begin_work if $changes;
			push @open, $sql if eval { $session->do($sql); 1 };
			$session->rollback if $changes;
		}
	}
	# A view for pg_monitor, and what the privileges on a parent mean.
	my %fine = (
		sender => qr/^LOCK TABLE queue\.acc$/,
		receiver => qr/^LOCK TABLE queue\.acc$/,
		browser => qr/^(?:SELECT 1 FROM|LOCK TABLE) queue\.acc$/,
		manager => qr/^(?:SELECT\ 1\ FROM|LOCK\ TABLE)\ queue\.acc$
			|^CREATE\ TRIGGER\ x\ BEFORE\ INSERT\ ON\ queue\.acc\s/x,
		monitor => qr/^SELECT\ 1\ FROM\ queue\.(?:queues|stats|in_flight|
			segments|workers|consumers|blockers)$/x,
		nobody_at_all => qr/^$/);
	# VACUUM without the right is a warning.
	@open = grep { !/^VACUUM/ && $_ !~ $fine{$role} } @open;
	is(join('; ', @open), '', "$role: no table says or takes more");
	$session->disconnect;
}

# What takes from one queue and gives to another needs both rights; optional
# arguments need none of their own, and give none.
$db->do(q{
	SELECT queue.create('out');
	SELECT queue.grant_access('out', 'receiver', 'send');
	SELECT queue.grant_access('out', 'browser', 'send');
	SELECT queue.create('solo', single_active => true);
	SELECT queue.grant_access('solo', 'receiver', 'receive');
	SELECT queue.enqueue('acc', '"kept"', headers => '{"a": 1}');
	SELECT queue.ack('acc', receipt) FROM queue.dequeue('acc');});

# The roles of those five that get through with a statement, in order.
sub who_can
{
	my ($sql) = @_;
	my @who;
	for my $role (qw(browser manager nobody_at_all receiver sender))
	{
		my $session = as_role($role);
		$session->begin_work;
		my $done = eval { $session->do($sql); 1 };
		push @who, $role if $done;
		push @who, "$role:" . $session->state
		  if !$done && $session->state ne '42501';
		$session->rollback;
		$session->disconnect;
	}
	return "@who";
}
my @rights = (
	[ "SELECT queue.move('acc', 'out')", 'receiver' ],
	[ "SELECT queue.move('acc', 'out', 1, filter => '{}')", 'receiver' ],
	[ "SELECT queue.move('out', 'acc')", '' ],
	[ "SELECT queue.move('acc', 'private')", '' ],
	[ "SELECT queue.move('private', 'out')", '' ],
	[ "SELECT queue.redrive('acc', 'out')", 'receiver' ],
	[ "SELECT queue.redrive('acc')", 'manager receiver' ],
	[ "SELECT queue.redrive('private')", '' ],
	[ "SELECT queue.replay('acc', '-infinity')", 'manager' ],
	[ "SELECT queue.replay('acc', '-infinity', target => 'out')", 'browser' ],
	[ "SELECT queue.replay('acc', '-infinity', target => 'private')", '' ],
	[ "SELECT * FROM queue.archived('acc')", 'browser manager' ],
	[ "SELECT queue.step_down('solo')", 'receiver' ],
	[ "SELECT queue.step_down('acc')", 'manager receiver' ],
	[ "SELECT * FROM queue.dequeue('acc', filter => '{}')",
		'manager receiver' ],
	[ "SELECT * FROM queue.pop('acc', filter => '{}')", 'manager receiver' ],
	[ "SELECT * FROM queue.peek('acc', filter => '{}')", 'browser manager' ],
	[ "SELECT * FROM queue.dequeue('private', filter => '{}')", '' ],
	[ "SELECT queue.enqueue('acc', '1', dedup_id => 'x', priority => 3)",
		'manager sender' ]);
is(who_can($_->[0]), $_->[1], "$_->[0]: by whom") for @rights;

# A header that names where to go is not believed further than the caller's
# rights; those of the sender do not matter.
my $sender = as_role('sender');
$sender->do(q{SELECT queue.enqueue('acc', '"forged"', headers =>
	'{"x-death": [{"queue": "private", "reason": "rejected", "count": 1}]}')});
is(who_can("SELECT queue.redrive('acc')"), '',
	'a forged x-death leads nobody to a queue that he may not send to');
is(who_can("SELECT queue.redrive('acc', 'out')"), 'receiver',
	'... and says nothing when there is a target');
is(value($db, "SELECT count(*) FROM queue.private WHERE body = '\"forged\"'"),
	0, '... nothing came there');
$db->do("SELECT queue.purge('acc')");
$sender->disconnect;

# Mallory owns a queue, may make more, and sets traps: whatever runs it, a
# trap writes down as whom.  A superuser is never to be caught.
$db->do(q{
	CREATE FUNCTION public.noise() RETURNS jsonb LANGUAGE sql VOLATILE AS
		$$ SELECT to_jsonb(string_agg(md5(random()::text), ''))
			FROM generate_series(1, 50) $$;
	GRANT CREATE ON SCHEMA queue TO mallory;
	CREATE SCHEMA mal AUTHORIZATION mallory;
	CREATE EXTENSION file_fdw;
	CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
	GRANT USAGE ON FOREIGN SERVER files TO mallory;});
my $mallory = as_role('mallory');
$mallory->do(q{
	CREATE TABLE mal.caught (who text, what text);
	GRANT ALL ON SCHEMA mal TO public;
	GRANT ALL ON mal.caught TO public;
	CREATE FUNCTION mal.note(what text) RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN
		IF current_user <> 'mallory' THEN
			RAISE LOG 'TRAP-SPRUNG as %: %', current_user, what;
			INSERT INTO mal.caught VALUES (current_user, what);
		END IF;
		RETURN true;
	END $$;
	CREATE FUNCTION mal.trap() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM mal.note('trigger');
		RETURN NEW;
	END $$;
	CREATE FUNCTION mal.key() RETURNS text LANGUAGE sql AS
		$$ SELECT mal.note('default')::text $$;
	CREATE FUNCTION mal.same(bigint) RETURNS text LANGUAGE plpgsql IMMUTABLE
		AS $$ BEGIN PERFORM mal.note('expression'); RETURN $1; END $$;});
# Each is done to a queue of hers; most are refused, the rest must be harmless.
my @traps = (
	'CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON $p FOR EACH ROW
		EXECUTE FUNCTION mal.trap()',
	'CREATE TRIGGER t AFTER TRUNCATE ON $p EXECUTE FUNCTION mal.trap()',
	'CREATE TRIGGER t BEFORE DELETE ON $p EXECUTE FUNCTION mal.trap()',
	'CREATE TRIGGER t BEFORE INSERT ON $s EXECUTE FUNCTION mal.trap()',
	'ALTER TABLE $p ENABLE ROW LEVEL SECURITY; ALTER TABLE $p FORCE ROW LEVEL
		SECURITY; CREATE POLICY x ON $p USING (mal.note(\'policy\'))',
	'CREATE RULE r AS ON DELETE TO $p DO ALSO SELECT mal.note(\'rule\')',
	'CREATE RULE "_RETURN" AS ON SELECT TO $p DO INSTEAD SELECT * FROM $p
		WHERE mal.note(\'view\')',
	'ALTER TABLE ONLY $p ALTER COLUMN key SET DEFAULT mal.key()',
	'ALTER TABLE $p ALTER COLUMN key SET DEFAULT mal.key()',
	'ALTER TABLE $p ADD CHECK (mal.note(\'check\'))',
	'ALTER TABLE $p ADD CONSTRAINT c CHECK (mal.note(\'check\')) NO INHERIT',
	'ALTER TABLE $p ADD COLUMN more text DEFAULT mal.key()',
	'CREATE INDEX ON $p (mal.same(id))',
	'CREATE STATISTICS mal.st ON (mal.same(id)), (mal.same(id + 1)) FROM $p',
	'CREATE TABLE mal.child () INHERITS ($p); INSERT INTO mal.child (id,
		visible_at, lease, deliveries, failures, priority, holder, leased_ms,
		enqueued_at) VALUES (1, now(), 0, 0, 0, 0, 0, 0, now());
		CREATE INDEX ON mal.child (mal.same(id))',
	q{CREATE FOREIGN TABLE mal.far () INHERITS ($p) SERVER files
		OPTIONS (program 'touch sprung')},
	'ALTER TABLE $p RENAME TO gone; CREATE VIEW $p AS
		SELECT mal.note(\'view\') AS id',
	'ALTER TABLE $p SET SCHEMA mal',
	'ALTER TABLE $p OWNER TO victim',
	'CREATE TABLE queue.q$i_s9 (a int); CREATE TABLE queue.q$i_s10 (a int);
		CREATE TABLE queue.q$i_s4 (a text DEFAULT mal.key())',
	q{COMMENT ON TABLE $p IS '"; SELECT mal.note(''comment''); --'});
my $n = 0;
for my $trap (@traps)
{
	my $queue = 'mal' . ++$n;
	my $what = substr $trap =~ s/\s+/ /gr, 0, 60;
	$mallory->do("SELECT queue.create('$queue')");
	value($mallory, "SELECT queue.enqueue('$queue', to_jsonb(i))
		FROM generate_series(1, 200) i");
	my ($id, $parent, $segment) = $db->selectrow_array(
		"SELECT d.id, d.relation::regclass, s.relation::regclass
		FROM queue.queue_def d JOIN queue.segment_def s ON s.queue_id = d.id
		WHERE d.name = ? AND s.chain = 'm'", undef, $queue);
	my $done = 0;
	for my $sql (split /;\s*/, $trap)
	{
		$sql = $sql =~ s/\$p/$parent/gr =~ s/\$s/$segment/gr
		  =~ s/\$i\b|\$i(?=_)/$id/gr;
		$done += eval { $mallory->do($sql); 1 } // 0;
	}
	# all that the extension does for others, by her, by a superuser, and by
	# the worker, which has to open new segments
	for my $session ($mallory, $db)
	{
		eval { $session->do($_) } for
		  "SELECT queue.enqueue('$queue', noise())
			FROM generate_series(1, 600)",
		  "SELECT queue.nack('$queue', receipt)
			FROM queue.dequeue('$queue', 20)",
		  "SELECT queue.ack('$queue', receipt)
			FROM queue.dequeue('$queue', 20)",
		  "SELECT * FROM queue.pop('$queue', 5)",
		  "SELECT * FROM queue.peek('$queue')",
		  "SELECT queue.cancel('$queue', 150)",
		  "SELECT queue.alter('$queue', delay => '0', comment => 'c')",
		  "SELECT queue.grant_access('$queue', 'victim', 'send')",
		  "SELECT * FROM queue.stats, queue.in_flight, queue.queues,
			queue.segments",
		  "SELECT queue.create('$queue')",
		  "SELECT queue.drop('$queue')",
		  "SELECT queue.purge('$queue')";
	}
	pass("tried: $what: " . ($done ? 'was possible' : 'was refused'));
}
# the worker has looked at all of it
wait_for_true(10, sub { value($db, 'SELECT count(*) > 0 FROM queue.segments
	WHERE queue ~ \'^mal\' AND state = \'sealed\'') });
sleep 2;
for my $i (1 .. $n)
{
	for my $session ($mallory, $db)
	{
		eval { $session->do("SELECT queue.drop('mal$i', true)") };
	}
}
is(join(', ', map { "@$_" } @{ $db->selectall_arrayref(
		'SELECT DISTINCT who, what FROM mal.caught') }), '',
	'nobody ran into a trap');
is(join("\n", server_log($node) =~ /TRAP-SPRUNG.*/g), '',
	'not even one that was rolled back');
ok(!-e $node->data_dir . '/sprung', 'no program was run');

# What may call on others' queues: two privileges, or none.
$db->do("GRANT INSERT, SELECT, UPDATE, DELETE ON queue.private TO victim");
for my $sql (
	"SELECT queue.move('acc', 'private')", "SELECT queue.move('private', 'acc')",
	"SELECT queue.redrive('private', 'acc')",
	"SELECT queue.redrive('acc', 'private')",
	"SELECT queue.replay('acc', '-infinity', target => 'private')",
	"SELECT queue.create('mine', max_attempts => 1,
		dead_letter => 'private')",
	"SELECT queue.alter('malfree', dead_letter => 'private')")
{
	eval { $mallory->do("SELECT queue.create('malfree')") };
	eval { $mallory->do($sql) };
	# or it does not exist yet in this version
	like($mallory->state, qr/^(?:42501|0A000|42883|42710)$/,
		"mallory: $sql is refused");
}
is(value($db, 'SELECT count(*) FROM queue.private'), 1,
	'nothing came to the private queue');

# A function that runs as its owner lends its privileges, no others.
$db->do(q{
	SET ROLE victim;
	SET search_path = public;
	RESET ROLE;
	GRANT CREATE ON SCHEMA public TO victim;
	SET ROLE victim;
	CREATE FUNCTION public.send(text) RETURNS bigint LANGUAGE sql
		SECURITY DEFINER SET search_path = pg_catalog AS
		$$ SELECT queue.enqueue($1, '1') $$;
	RESET ROLE; RESET search_path;});
ok(eval { $mallory->do("SELECT public.send('private')"); 1 },
	'SECURITY DEFINER lends what its owner may');
ok(!eval { $mallory->do("SELECT public.send('acc')"); 1 }
	  && $mallory->state eq '42501', 'and nothing else');

# A receipt is a number, no capability: of another queue it does nothing.
$db->do("SELECT queue.grant_access('private', 'receiver', 'browse')");
my ($receipt) = column($db, "SELECT receipt FROM queue.dequeue('private')");
my $receiver = as_role('receiver');
ok(!value($receiver, "SELECT queue.ack('acc', $receipt)"),
	"another queue's receipt is no good");
eval { $receiver->do("SELECT queue.ack('private', $receipt)") };
is($receiver->state, '42501', 'and does not replace the privilege');

# Default privileges of the extension's owner open no table.
$db->do(q{
	ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO nobody_at_all;
	ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO nobody_at_all;
	SELECT queue.create('shut');
	SELECT queue.enqueue('shut', noise())
		FROM generate_series(1, 600);});
wait_for_true(20, sub { value($db, "SELECT count(*) >= 3 FROM queue.segments
	WHERE queue = 'shut'") });
is(value($db, q{SELECT count(*) FROM pg_class
	WHERE relnamespace = 'queue'::regnamespace
		AND relname ~ '^(shut|q[0-9]+_s[0-9]+|queue_[0-9]+_ids)$'
		AND has_table_privilege('nobody_at_all', oid,
			'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER')
		AND relkind = 'r'}), 0, 'default privileges open no table');
is(value($db, q{SELECT count(*) FROM pg_class
	WHERE relnamespace = 'queue'::regnamespace AND CASE WHEN relkind = 'S'
		THEN has_sequence_privilege('nobody_at_all', oid,
			'SELECT, UPDATE, USAGE') END}), 0, 'and no sequence');

# Nobody can have the worker's or the owner's rights by the schema's functions.
is(value($db, q{SELECT count(*) FROM pg_proc
	WHERE pronamespace = 'queue'::regnamespace AND prosecdef}), 0,
	'no function of the extension is SECURITY DEFINER');
is(value($db, q{SELECT count(*) FROM pg_proc p
	JOIN pg_depend d ON d.objid = p.oid AND d.deptype = 'e'
	WHERE p.pronamespace = 'queue'::regnamespace AND p.proname ~ '^_'
		AND has_function_privilege('nobody_at_all', p.oid, 'EXECUTE')}), 0,
	'internal functions are closed');
is(crashed($node), '', 'no crash');
done_testing();
