-- +goose Up
-- A record lies in the order of its last change: seq is the row itself, so that what changed since a mark is one range.
CREATE TABLE record (
  seq     INTEGER PRIMARY KEY,
  key     TEXT NOT NULL UNIQUE,
  value   BLOB NOT NULL,
  version INTEGER NOT NULL CHECK (version > 0),
  expires INTEGER -- milliseconds since 1970; null: it stays
) STRICT;
CREATE INDEX record_expires ON record (expires) WHERE expires IS NOT NULL;

-- seq is at least the number of every row that was removed: none is given out twice. life is another in each copy: a mark of one file is
-- not taken for a mark of another.
CREATE TABLE mark (
  one  INTEGER PRIMARY KEY CHECK (one = 1),
  life TEXT NOT NULL,
  seq  INTEGER NOT NULL
) STRICT;
INSERT INTO mark VALUES (1, lower(hex(randomblob(8))), 0);
