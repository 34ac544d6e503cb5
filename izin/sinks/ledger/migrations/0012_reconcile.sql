-- Reconciliation: rules that its statements share.

-- Whether an instant is in a period; what has none is in every period.
CREATE FUNCTION is_in_period(at timestamptz, since timestamptz, until timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT at IS NULL OR (since IS NULL OR at >= since) AND (until IS NULL OR at < until)
$$;

-- Whether the recipient of a row opted out, here or at İYS, and no later consent is known.
CREATE FUNCTION is_opted_out(c consents) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT c.registered = 'RET' OR coalesce(c.desired_status = 'RET', false)
        OR coalesce(c.permission_reason = 'opted-out', false)
$$;
