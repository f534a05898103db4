-- The language of an account's pages; NULL: what its browser asks for.
ALTER TABLE users ADD COLUMN language TEXT CHECK (language IN ('en', 'zh-Hans', 'zh-Hant'));
