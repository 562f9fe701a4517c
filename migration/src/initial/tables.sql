-- Types in braces differ by database: see the module. Amounts are signed 64-bit minor units of the one currency.

CREATE TABLE users (
    id {uuid} NOT NULL CONSTRAINT users_pkey PRIMARY KEY,
    email TEXT NOT NULL CONSTRAINT users_email_key UNIQUE,
    display_name TEXT NOT NULL,
    avatar_url TEXT,
    is_client {bool} NOT NULL,
    is_freelancer {bool} NOT NULL,
    is_admin {bool} NOT NULL,
    password_hash TEXT NOT NULL,
    completed_job_count {int4} NOT NULL CONSTRAINT users_completed_job_count_check CHECK (completed_job_count >= 0),
    suspended_at {time},
    created_at {time} NOT NULL,
    updated_at {time} NOT NULL
) {strict};

CREATE TABLE skills (
    id {uuid} NOT NULL CONSTRAINT skills_pkey PRIMARY KEY,
    slug TEXT NOT NULL CONSTRAINT skills_slug_key UNIQUE,
    name TEXT NOT NULL
) {strict};

CREATE TABLE user_skills (
    user_id {uuid} NOT NULL CONSTRAINT user_skills_user_fkey REFERENCES users (id),
    skill_id {uuid} NOT NULL CONSTRAINT user_skills_skill_fkey REFERENCES skills (id),
    CONSTRAINT user_skills_pkey PRIMARY KEY (user_id, skill_id)
) {strict};

-- A sign-in. Its refresh tokens form one family and end with it.
CREATE TABLE sessions (
    id {uuid} NOT NULL CONSTRAINT sessions_pkey PRIMARY KEY,
    user_id {uuid} NOT NULL CONSTRAINT sessions_user_fkey REFERENCES users (id),
    created_at {time} NOT NULL,
    ended_at {time},
    end_reason TEXT,
    CONSTRAINT sessions_end_check CHECK ((ended_at IS NULL) = (end_reason IS NULL))
) {strict};
CREATE INDEX sessions_user_idx ON sessions (user_id) WHERE ended_at IS NULL;

CREATE TABLE refresh_tokens (
    id {uuid} NOT NULL CONSTRAINT refresh_tokens_pkey PRIMARY KEY,
    session_id {uuid} NOT NULL CONSTRAINT refresh_tokens_session_fkey REFERENCES sessions (id),
    -- SHA-256 of the token: a stolen table opens no session.
    hash {bytes} NOT NULL CONSTRAINT refresh_tokens_hash_key UNIQUE,
    created_at {time} NOT NULL,
    expires_at {time} NOT NULL,
    used_at {time}
) {strict};
CREATE INDEX refresh_tokens_session_idx ON refresh_tokens (session_id);

CREATE TABLE jobs (
    id {uuid} NOT NULL CONSTRAINT jobs_pkey PRIMARY KEY,
    version {int8} NOT NULL CONSTRAINT jobs_version_check CHECK (version >= 1),
    client_id {uuid} NOT NULL CONSTRAINT jobs_client_fkey REFERENCES users (id),
    -- The freelancer of the latest claim, unless that was released or expired: with the client, the job's parties.
    claimant_id {uuid} CONSTRAINT jobs_claimant_fkey REFERENCES users (id),
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    status TEXT NOT NULL,
    budget_minor {int8} NOT NULL CONSTRAINT jobs_budget_check CHECK (budget_minor > 0),
    deadline {time},
    -- The deadline, or the end of time: NULLs vanish from row comparisons and sort differently on the two databases.
    deadline_order {time} NOT NULL,
    cancel_reason TEXT,
    posted_at {time},
    created_at {time} NOT NULL,
    updated_at {time} NOT NULL,
    CONSTRAINT jobs_status_check CHECK (status IN
        ('DRAFT', 'OPEN', 'CLAIMED', 'IN_REVIEW', 'COMPLETED', 'CANCELLED', 'EXPIRED', 'DISPUTED')),
    CONSTRAINT jobs_posted_check CHECK (
        CASE status WHEN 'DRAFT' THEN posted_at IS NULL WHEN 'CANCELLED' THEN {true} = {true} ELSE posted_at IS NOT NULL END),
    CONSTRAINT jobs_claimant_check CHECK (
        CASE WHEN status IN ('CLAIMED', 'IN_REVIEW', 'COMPLETED', 'DISPUTED') THEN claimant_id IS NOT NULL
             WHEN status IN ('DRAFT', 'OPEN', 'EXPIRED') THEN claimant_id IS NULL ELSE {true} = {true} END),
    CONSTRAINT jobs_own_job_check CHECK (claimant_id <> client_id)
) {strict};
CREATE INDEX jobs_status_posted_idx ON jobs (status, posted_at, id);
CREATE INDEX jobs_status_budget_idx ON jobs (status, budget_minor, id);
CREATE INDEX jobs_status_deadline_idx ON jobs (status, deadline_order, id);
CREATE INDEX jobs_posted_idx ON jobs (posted_at, id);
CREATE INDEX jobs_budget_idx ON jobs (budget_minor, id);
CREATE INDEX jobs_deadline_idx ON jobs (deadline_order, id);
CREATE INDEX jobs_client_idx ON jobs (client_id, id);
CREATE INDEX jobs_client_posted_idx ON jobs (client_id, posted_at, id);

CREATE TABLE job_skills (
    job_id {uuid} NOT NULL CONSTRAINT job_skills_job_fkey REFERENCES jobs (id),
    skill_id {uuid} NOT NULL CONSTRAINT job_skills_skill_fkey REFERENCES skills (id),
    -- As the client listed them.
    place {int4} NOT NULL,
    CONSTRAINT job_skills_pkey PRIMARY KEY (job_id, skill_id)
) {strict};
CREATE INDEX job_skills_skill_idx ON job_skills (skill_id, job_id);

CREATE TABLE claims (
    id {uuid} NOT NULL CONSTRAINT claims_pkey PRIMARY KEY,
    version {int8} NOT NULL CONSTRAINT claims_version_check CHECK (version >= 1),
    job_id {uuid} NOT NULL CONSTRAINT claims_job_fkey REFERENCES jobs (id),
    freelancer_id {uuid} NOT NULL CONSTRAINT claims_freelancer_fkey REFERENCES users (id),
    status TEXT NOT NULL,
    -- Frozen when the claim is made: a change of the platform's fee never touches work already agreed.
    fee_basis_points {int4} NOT NULL
        CONSTRAINT claims_fee_check CHECK (fee_basis_points BETWEEN 0 AND 10000),
    created_at {time} NOT NULL,
    expires_at {time},
    auto_approve_at {time},
    ended_at {time},
    end_reason TEXT,
    CONSTRAINT claims_status_check CHECK (status IN
        ('ACTIVE', 'IN_REVIEW', 'REVISION_REQUESTED', 'APPROVED', 'RELEASED', 'EXPIRED', 'CANCELLED', 'DISPUTED')),
    CONSTRAINT claims_ended_check CHECK (
        (ended_at IS NULL) = (status IN ('ACTIVE', 'IN_REVIEW', 'REVISION_REQUESTED', 'DISPUTED')))
) {strict};
-- At most one live claim a job, whatever the code above believes.
CREATE UNIQUE INDEX claims_one_live_key ON claims (job_id)
    WHERE status IN ('ACTIVE', 'IN_REVIEW', 'REVISION_REQUESTED', 'DISPUTED');
CREATE INDEX claims_job_idx ON claims (job_id, id);
CREATE INDEX claims_freelancer_idx ON claims (freelancer_id, id);
CREATE INDEX claims_freelancer_status_idx ON claims (freelancer_id, status, id);

CREATE TABLE deliverables (
    id {uuid} NOT NULL CONSTRAINT deliverables_pkey PRIMARY KEY,
    claim_id {uuid} NOT NULL CONSTRAINT deliverables_claim_fkey REFERENCES claims (id),
    number {int4} NOT NULL CONSTRAINT deliverables_number_check CHECK (number >= 1),
    status TEXT NOT NULL,
    note TEXT NOT NULL,
    revision_note TEXT,
    submitted_at {time} NOT NULL,
    reviewed_at {time},
    CONSTRAINT deliverables_number_key UNIQUE (claim_id, number),
    CONSTRAINT deliverables_status_check CHECK (status IN ('SUBMITTED', 'REVISION_REQUESTED', 'APPROVED', 'SUPERSEDED'))
) {strict};
CREATE UNIQUE INDEX deliverables_one_open_key ON deliverables (claim_id) WHERE status = 'SUBMITTED';

-- The ledger. `owner_id` is the user of an available or pending_out account, the opaque reference of an escrow
-- account, and zero for the two accounts that exist once.
CREATE TABLE accounts (
    id {uuid} NOT NULL CONSTRAINT accounts_pkey PRIMARY KEY,
    kind TEXT NOT NULL CONSTRAINT accounts_kind_check
        CHECK (kind IN ('WORLD', 'AVAILABLE', 'PENDING_OUT', 'ESCROW', 'FEES')),
    owner_id {uuid} NOT NULL,
    balance_minor {int8} NOT NULL,
    CONSTRAINT accounts_owner_key UNIQUE (owner_id, kind),
    -- Only the outside world may owe.
    CONSTRAINT accounts_balance_check CHECK (kind = 'WORLD' OR balance_minor >= 0)
) {strict};

CREATE TABLE journals (
    id {uuid} NOT NULL CONSTRAINT journals_pkey PRIMARY KEY,
    kind TEXT NOT NULL,
    reference_id {uuid},
    created_at {time} NOT NULL,
    CONSTRAINT journals_kind_check CHECK (kind IN ('DEPOSIT', 'WITHDRAWAL_RESERVE', 'WITHDRAWAL_SETTLE',
        'WITHDRAWAL_VOID', 'ESCROW_HOLD', 'ESCROW_RELEASE', 'ESCROW_REFUND', 'REVERSAL'))
) {strict};
CREATE INDEX journals_reference_idx ON journals (reference_id) WHERE reference_id IS NOT NULL;

CREATE TABLE entries (
    journal_id {uuid} NOT NULL CONSTRAINT entries_journal_fkey REFERENCES journals (id),
    place {int4} NOT NULL,
    account_id {uuid} NOT NULL CONSTRAINT entries_account_fkey REFERENCES accounts (id),
    amount_minor {int8} NOT NULL CONSTRAINT entries_amount_check CHECK (amount_minor <> 0),
    balance_after_minor {int8} NOT NULL,
    CONSTRAINT entries_pkey PRIMARY KEY (journal_id, place)
) {strict};
CREATE INDEX entries_account_idx ON entries (account_id, journal_id);

-- A user's money as the API shows it: a projection of the ledger that `lancewire verify` compares with it.
CREATE TABLE wallets (
    -- The user's own id: every account has a wallet from its first day, a row here from its first movement.
    id {uuid} NOT NULL CONSTRAINT wallets_pkey PRIMARY KEY CONSTRAINT wallets_user_fkey REFERENCES users (id),
    version {int8} NOT NULL CONSTRAINT wallets_version_check CHECK (version >= 1),
    available_minor {int8} NOT NULL CONSTRAINT wallets_available_check CHECK (available_minor >= 0),
    in_escrow_minor {int8} NOT NULL CONSTRAINT wallets_in_escrow_check CHECK (in_escrow_minor >= 0),
    pending_in_minor {int8} NOT NULL CONSTRAINT wallets_pending_in_check CHECK (pending_in_minor >= 0),
    pending_out_minor {int8} NOT NULL CONSTRAINT wallets_pending_out_check CHECK (pending_out_minor >= 0),
    updated_at {time} NOT NULL
) {strict};

CREATE TABLE transactions (
    id {uuid} NOT NULL CONSTRAINT transactions_pkey PRIMARY KEY,
    version {int8} NOT NULL CONSTRAINT transactions_version_check CHECK (version >= 1),
    wallet_id {uuid} NOT NULL CONSTRAINT transactions_wallet_fkey REFERENCES wallets (id),
    type TEXT NOT NULL,
    status TEXT NOT NULL,
    amount_minor {int8} NOT NULL,
    available_after_minor {int8} NOT NULL CONSTRAINT transactions_available_check CHECK (available_after_minor >= 0),
    fee_minor {int8},
    reference_id {uuid},
    -- The journal behind it: of a withdrawal the one that reserved, of a pending deposit none yet.
    journal_id {uuid} CONSTRAINT transactions_journal_fkey REFERENCES journals (id),
    settlement_journal_id {uuid} CONSTRAINT transactions_settlement_fkey REFERENCES journals (id),
    reverses_id {uuid} CONSTRAINT transactions_reverses_fkey REFERENCES transactions (id),
    -- Where a withdrawal goes, in the words of who asked for it.
    destination TEXT,
    -- When the sandbox payment provider settles it.
    settle_due_at {time},
    created_at {time} NOT NULL,
    settled_at {time},
    CONSTRAINT transactions_type_check CHECK (type IN ('DEPOSIT', 'WITHDRAWAL', 'ESCROW_HOLD', 'ESCROW_RELEASE',
        'ESCROW_REFUND', 'PLATFORM_FEE', 'REVERSAL')),
    CONSTRAINT transactions_status_check CHECK (status IN ('PENDING', 'POSTED', 'VOIDED', 'FAILED')),
    CONSTRAINT transactions_settled_check CHECK ((settled_at IS NULL) = (status = 'PENDING'))
) {strict};
CREATE INDEX transactions_wallet_idx ON transactions (wallet_id, id);
CREATE INDEX transactions_wallet_type_idx ON transactions (wallet_id, type, id);
CREATE INDEX transactions_reference_idx ON transactions (reference_id) WHERE reference_id IS NOT NULL;
CREATE INDEX transactions_status_idx ON transactions (status, id);
CREATE INDEX transactions_due_idx ON transactions (settle_due_at) WHERE settle_due_at IS NOT NULL AND status = 'PENDING';

CREATE TABLE idempotency_keys (
    user_id {uuid} NOT NULL CONSTRAINT idempotency_keys_user_fkey REFERENCES users (id),
    mutation TEXT NOT NULL,
    key TEXT NOT NULL,
    request_hash {bytes} NOT NULL,
    -- The ids that the effect made, as JSON.
    effect TEXT NOT NULL,
    created_at {time} NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (user_id, mutation, key)
) {strict};

CREATE TABLE notifications (
    id {uuid} NOT NULL CONSTRAINT notifications_pkey PRIMARY KEY,
    user_id {uuid} NOT NULL CONSTRAINT notifications_user_fkey REFERENCES users (id),
    kind TEXT NOT NULL,
    title TEXT NOT NULL,
    subject_kind TEXT NOT NULL CONSTRAINT notifications_subject_check CHECK (subject_kind IN ('JOB', 'CLAIM', 'TRANSACTION')),
    subject_id {uuid} NOT NULL,
    created_at {time} NOT NULL,
    read_at {time},
    CONSTRAINT notifications_kind_check CHECK (kind IN ('JOB_CLAIMED', 'CLAIM_RELEASED', 'WORK_SUBMITTED',
        'REVISION_REQUESTED', 'WORK_APPROVED', 'PAYMENT_RECEIVED', 'JOB_CANCELLED', 'JOB_EXPIRED', 'DISPUTE_OPENED',
        'DISPUTE_RESOLVED'))
) {strict};
CREATE INDEX notifications_inbox_idx ON notifications (user_id, id);
CREATE INDEX notifications_unread_idx ON notifications (user_id, id) WHERE read_at IS NULL;

-- What admins did to others.
CREATE TABLE admin_actions (
    id {serial},
    actor_id {uuid} NOT NULL CONSTRAINT admin_actions_actor_fkey REFERENCES users (id),
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    occurred_at {time} NOT NULL
) {strict};

-- The event log. `id` is the order of insertion, `position` the order of publication: contiguous from 1.
CREATE TABLE events (
    id {serial},
    position {position} CONSTRAINT events_position_key UNIQUE,
    event_id {uuid} NOT NULL CONSTRAINT events_event_id_key UNIQUE,
    kind TEXT NOT NULL CONSTRAINT events_kind_check
        CHECK (kind IN ('JOB_POSTED', 'JOB_UPDATED', 'WALLET_UPDATED', 'NOTIFICATION_RECEIVED', 'SESSION_ENDED',
            'RIGHTS_CHANGED')),
    -- The job, wallet, inbox, session or user within which events are in order, and its version where it has one.
    subject_id {uuid} NOT NULL,
    subject_version {int8} NOT NULL,
    -- Who may hear of it: everybody, the owner (a job's client, a wallet's or inbox's user), the claimant.
    is_public {bool} NOT NULL,
    owner_id {uuid} NOT NULL,
    claimant_id {uuid},
    payload TEXT NOT NULL,
    occurred_at {time} NOT NULL
) {strict};

-- The log's identity, which is part of every cursor, and the last position given out (PostgreSQL; on SQLite the row id
-- is the position).
CREATE TABLE event_log (
    id {int4} NOT NULL CONSTRAINT event_log_pkey PRIMARY KEY CONSTRAINT event_log_single_check CHECK (id = 1),
    log_id {uuid} NOT NULL,
    last_position {int8} NOT NULL
) {strict};

-- One row: the oldest program that may use this schema, by the last migration that it knows. Raised by a migration that
-- takes something away.
CREATE TABLE schema_compat (
    id {int4} NOT NULL CONSTRAINT schema_compat_pkey PRIMARY KEY CONSTRAINT schema_compat_id_check CHECK (id = 1),
    min_version TEXT NOT NULL
) {strict};
