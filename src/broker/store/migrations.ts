/** One step a version; a released step is never changed. */
export const MIGRATIONS: readonly string[] = [
  `CREATE TABLE volumes (name TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT;
   CREATE TABLE policies (name TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT;
   CREATE TABLE tenants (name TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT;
   CREATE TABLE drains (volume TEXT PRIMARY KEY, since_ms INTEGER NOT NULL) STRICT;

   CREATE TABLE grants (
     id TEXT PRIMARY KEY,
     tenant TEXT NOT NULL,
     at TEXT NOT NULL,
     volume TEXT NOT NULL,
     policy TEXT NOT NULL,
     mode TEXT NOT NULL CHECK (mode IN ('ro', 'rw')),
     subpath TEXT NOT NULL,
     compute INTEGER NOT NULL,
     revocable INTEGER NOT NULL,
     quota_bytes INTEGER,
     created_at_ms INTEGER NOT NULL,
     expires_at_ms INTEGER,
     state TEXT NOT NULL CHECK (state IN ('preparing', 'active', 'revoking')),
     request_key TEXT,
     UNIQUE (tenant, at)
   ) STRICT;

   CREATE TABLE idempotency_keys (
     tenant TEXT NOT NULL,
     key TEXT NOT NULL,
     fingerprint TEXT NOT NULL,
     status INTEGER NOT NULL,
     body TEXT NOT NULL,
     used_at_ms INTEGER NOT NULL,
     PRIMARY KEY (tenant, key)
   ) STRICT;
   CREATE INDEX idempotency_keys_by_age ON idempotency_keys (tenant, used_at_ms);

   CREATE TABLE audit (
     id INTEGER PRIMARY KEY AUTOINCREMENT,
     at_ms INTEGER NOT NULL,
     action TEXT NOT NULL,
     outcome TEXT NOT NULL CHECK (outcome IN ('done', 'refused', 'failed')),
     tenant TEXT,
     uid INTEGER,
     pid INTEGER,
     container TEXT,
     subject TEXT,
     reason TEXT
   ) STRICT;
   CREATE INDEX audit_by_tenant ON audit (tenant, id);
   CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
     BEGIN SELECT raise(ABORT, 'the audit is append-only'); END;
   -- Only what is beyond the bound may go, and it goes from its old end.
   CREATE TRIGGER audit_is_never_removed BEFORE DELETE ON audit
     WHEN OLD.id > (SELECT seq FROM sqlite_sequence WHERE name = 'audit') - 1000000
     BEGIN SELECT raise(ABORT, 'the audit is append-only'); END;`,

  `CREATE TABLE plugin_volumes (name TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT;
   CREATE TABLE plugin_mounts (
     volume TEXT NOT NULL,
     id TEXT NOT NULL,
     boot_id TEXT NOT NULL,
     PRIMARY KEY (volume, id)
   ) STRICT;`,

  `CREATE TABLE certificates (
     fingerprint TEXT PRIMARY KEY,
     tenant TEXT NOT NULL,
     issued_at_ms INTEGER NOT NULL,
     expires_at_ms INTEGER NOT NULL,
     revoked_at_ms INTEGER
   ) STRICT;
   CREATE INDEX certificates_by_tenant ON certificates (tenant, issued_at_ms);`,

  // Where a grant is that stands inside a container, and until when: the end of that process.
  `CREATE TABLE injections (
     grant_id TEXT PRIMARY KEY,
     target TEXT NOT NULL,
     container TEXT,
     pid INTEGER NOT NULL,
     start_ticks INTEGER NOT NULL,
     boot_id TEXT NOT NULL,
     mount_namespace TEXT NOT NULL
   ) STRICT;`,

  `CREATE TABLE volume_intents (
     volume TEXT PRIMARY KEY,
     what TEXT NOT NULL CHECK (what IN ('make', 'remove')),
     keep_data INTEGER NOT NULL,
     record TEXT NOT NULL
   ) STRICT;`,

  // Up to which entry a tenant's own may go as well: a tenant that asks without end pushes out what was
  // kept of itself, and of nobody else.
  `CREATE TABLE audit_floors (tenant TEXT PRIMARY KEY, id INTEGER NOT NULL) STRICT;
   CREATE TRIGGER audit_floor_leaves_enough BEFORE INSERT ON audit_floors
     WHEN (SELECT count(*) FROM audit WHERE tenant = NEW.tenant AND id > NEW.id) < 250000
     BEGIN SELECT raise(ABORT, 'the audit is append-only'); END;
   CREATE TRIGGER audit_floor_is_set_anew BEFORE UPDATE ON audit_floors
     BEGIN SELECT raise(ABORT, 'the audit is append-only'); END;
   DROP TRIGGER audit_is_never_removed;
   CREATE TRIGGER audit_is_never_removed BEFORE DELETE ON audit
     WHEN OLD.id > (SELECT seq FROM sqlite_sequence WHERE name = 'audit') - 1000000
       AND OLD.id > coalesce((SELECT id FROM audit_floors WHERE tenant = OLD.tenant), 0)
     BEGIN SELECT raise(ABORT, 'the audit is append-only'); END;`,
]
