-- How an account proves who it is: by its password, or by PAM; and by a second factor, if it has one.
ALTER TABLE users ADD COLUMN login TEXT NOT NULL DEFAULT 'password' CHECK (login IN ('password', 'pam'));
-- The shared secret of the second factor in base32; NULL: there is none.
ALTER TABLE users ADD COLUMN totp_secret TEXT;
-- The time step of the last code that was taken: neither it nor an earlier one is taken again.
ALTER TABLE users ADD COLUMN totp_step INTEGER;
ALTER TABLE users ADD COLUMN totp_since INTEGER;

-- Only hashes; each code works once, then its row is gone.
CREATE TABLE recovery_codes (
    user_id   INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    code_hash TEXT NOT NULL,
    PRIMARY KEY (user_id, code_hash)
) STRICT;
