-- +goose Up

-- Everything that is remembered. Keys are visible ASCII and compare by their bytes.
CREATE TABLE record (
    key     text COLLATE "C" PRIMARY KEY,
    value   bytea NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    expires timestamptz,           -- as its writer wrote it, by the writer's clock
    ends    timestamptz,           -- the same by this server's clock, which alone decides
    written bigint NOT NULL        -- the transaction that wrote it
);

-- What Since reads, and its highest number.
CREATE INDEX record_written ON record (written);

-- What the sweep reads.
CREATE INDEX record_ends ON record (ends) WHERE ends IS NOT NULL;

-- One row: the cluster in which the numbers in record.written were given out, and the last sign of life.
CREATE TABLE history (
    id     boolean PRIMARY KEY DEFAULT true CHECK (id),
    system bigint NOT NULL,
    pinged timestamptz NOT NULL DEFAULT clock_timestamp()
);

INSERT INTO history (system) SELECT system_identifier FROM pg_control_system();
