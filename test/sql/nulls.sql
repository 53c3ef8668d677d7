--
-- NULL for a required parameter is an error, for an optional one its default;
-- and no combination of NULLs brings the server down.
--
SELECT queue.create('null');
SELECT queue.enqueue('null', '1') > 0 AS ok;

-- Each function with NULL for each single parameter, the others being valid.
CREATE TEMP TABLE calls (function text, params text[]);
INSERT INTO calls VALUES
    ('create', ARRAY['''null''', '''work''', '''30 s''', 'NULL', 'NULL', '''1 s''',
                     '''exponential''', '''15 min''', '''0''', 'NULL', 'NULL', 'NULL',
                     '''reject''', 'NULL', 'NULL', 'NULL', '''logged''', 'false', 'false',
                     'NULL', '1', 'NULL', 'NULL', 'false', 'NULL']),
    ('alter', ARRAY['''null''', '''work''', '''30 s''']),
    ('drop', ARRAY['''null''', 'true']),
    ('purge', ARRAY['''null''']),
    ('pause', ARRAY['''null''', 'true', 'true']),
    ('resume', ARRAY['''null''', 'true', 'true']),
    ('grant_access', ARRAY['''null''', '''pg_monitor''', '''send''']),
    ('revoke_access', ARRAY['''null''', '''pg_monitor''', '''send''']),
    ('enqueue', ARRAY['''null''', '''1''', '''p''', '''{}''', '''k''', '0', '''0''', 'NULL', 'NULL', 'NULL']),
    ('enqueue_batch', ARRAY['''null''', '''{1}''', '''{p}''', '''{"{}"}''', '''{k}''', '0', '''0''', 'NULL', 'NULL', 'NULL']),
    ('dequeue', ARRAY['''null''', '1', '''1 s''', '''0''', 'NULL']),
    ('dequeue_any', ARRAY['''{null}''', '1', '''1 s''', '''0''']),
    ('pop', ARRAY['''null''', '1', '''0''', 'NULL']),
    ('ack', ARRAY['''null''', '0']),
    ('ack_batch', ARRAY['''null''', '''{}''']),
    ('nack', ARRAY['''null''', '0', '''1 s''', '''r''']),
    ('nack_batch', ARRAY['''null''', '''{}''', '''1 s''', '''r''']),
    ('release', ARRAY['''null''', '0', '''1 s''']),
    ('release_batch', ARRAY['''null''', '''{}''', '''1 s''']),
    ('reject', ARRAY['''null''', '0', '''r''']),
    ('reject_batch', ARRAY['''null''', '''{}''', '''r''']),
    ('extend', ARRAY['''null''', '0', '''1 s''']),
    ('extend_batch', ARRAY['''null''', '''{}''', '''1 s''']),
    ('peek', ARRAY['''null''', '1', '''ready''', '''{}''']),
    ('get', ARRAY['''null''', '1']),
    ('cancel', ARRAY['''null''', '-1']);

-- The name "null" quoted in an array is a name.
UPDATE calls SET params[1] = '''{"null"}''' WHERE function = 'dequeue_any';
-- Every call is rolled back, so that each finds the same queue.
CREATE FUNCTION trial(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text := 'no error';
BEGIN
    BEGIN
        EXECUTE statement;
        RAISE 'undo' USING ERRCODE = 'QQ000';
    EXCEPTION
        WHEN SQLSTATE 'QQ000' THEN NULL;
        WHEN OTHERS THEN result := sqlstate || ': ' || sqlerrm;
    END;
    RETURN result;
END $$;
SELECT function, i AS parameter,
       trial(format('SELECT queue.%I(%s)', function, array_to_string(params[1:i - 1]
             || 'NULL'::text || params[i + 1:], ', '))) AS result
  FROM calls, generate_subscripts(params, 1) i
 WHERE trial(format('SELECT queue.%I(%s)', function, array_to_string(params[1:i - 1]
             || 'NULL'::text || params[i + 1:], ', '))) <> 'no error'
 ORDER BY function COLLATE "C", i;

-- All valid: no error.
SELECT function, trial(format('SELECT queue.%I(%s)', function, array_to_string(params, ', '))) AS result
  FROM calls
 WHERE trial(format('SELECT queue.%I(%s)', function, array_to_string(params, ', '))) <> 'no error';

-- NULL for everything.
SELECT function, trial(format('SELECT queue.%I(%s)', function,
             array_to_string(array_fill('NULL'::text, ARRAY[cardinality(params)]), ', '))) AS result
  FROM calls ORDER BY function COLLATE "C";
CALL queue.receive(NULL, NULL, NULL, NULL, NULL);
CALL queue.receive('null', NULL, NULL, NULL, NULL);

-- Only the parameters that have no default are required.
SELECT p.proname AS function,
       (SELECT string_agg(n, ', ' ORDER BY i)
          FROM unnest(p.proargnames) WITH ORDINALITY u (n, i)
         WHERE i <= p.pronargs - p.pronargdefaults) AS required
  FROM pg_proc p
 WHERE p.pronamespace = 'queue'::regnamespace AND p.proname NOT LIKE '\_%'
 ORDER BY 1;

DROP FUNCTION trial;
SELECT queue.drop('null', true);
