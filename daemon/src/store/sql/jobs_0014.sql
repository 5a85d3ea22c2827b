-- Repositories that not everybody may have, as an origin said: what of them lies in a shared cache is given to no user on a
-- mirror's word.
CREATE TABLE closed_repos (
    kind    TEXT NOT NULL,
    repo_id TEXT NOT NULL,
    PRIMARY KEY (kind, repo_id)
) STRICT, WITHOUT ROWID;
