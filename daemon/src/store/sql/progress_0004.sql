-- Finds what was verified long ago.
CREATE INDEX verified_by_age ON verified (at);
