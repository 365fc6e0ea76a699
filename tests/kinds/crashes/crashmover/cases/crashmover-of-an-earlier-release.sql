BEGIN TRANSACTION;
CREATE TABLE publishes (
    crash_id TEXT NOT NULL, destination TEXT NOT NULL, target TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL,
    next_try REAL NOT NULL, error TEXT NOT NULL, PRIMARY KEY (crash_id, destination)
) WITHOUT ROWID;
INSERT INTO "publishes" VALUES('21111111-1111-4111-8111-111112261122','antenna','http://127.0.0.1:9/','pending',1,1790000030.0,'no queue');
INSERT INTO "publishes" VALUES('31111111-1111-4111-8111-111113261122','antenna','http://127.0.0.1:9/','dead',1,0.0,'no queue');
CREATE TABLE sends (
    day TEXT NOT NULL, crash_id TEXT NOT NULL, destination TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL,
    next_try REAL NOT NULL, noticed REAL NOT NULL, ended REAL, checksum TEXT NOT NULL, place TEXT NOT NULL,
    error TEXT NOT NULL, PRIMARY KEY (day, crash_id, destination)
) WITHOUT ROWID;
INSERT INTO "sends" VALUES('20261122','11111111-1111-4111-8111-111111261122','antenna','done',1,1790000000.0,1790000000.0,1790000001.0,'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','/fs/1','');
INSERT INTO "sends" VALUES('20261122','11111111-1111-4111-8111-111111261122','http','done',1,1790000000.0,1790000000.0,1790000001.0,'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','bp-1','');
INSERT INTO "sends" VALUES('20261122','21111111-1111-4111-8111-111112261122','antenna','done',1,1790000000.0,1790000000.0,1790000002.0,'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','/fs/2','');
INSERT INTO "sends" VALUES('20261122','21111111-1111-4111-8111-111112261122','http','skipped',1,1790000000.0,1790000000.0,1790000002.0,'','','');
INSERT INTO "sends" VALUES('20261122','31111111-1111-4111-8111-111113261122','antenna','done',1,1790000000.0,1790000000.0,1790000003.0,'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','/fs/3','');
INSERT INTO "sends" VALUES('20261122','31111111-1111-4111-8111-111113261122','http','dead',1,1790000000.0,1790000000.0,1790000003.0,'','','status 400: no');
INSERT INTO "sends" VALUES('20261122','41111111-1111-4111-8111-111114261122','antenna','done',1,1790000000.0,1790000000.0,1790000004.0,'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','/fs/4','');
INSERT INTO "sends" VALUES('20261122','41111111-1111-4111-8111-111114261122','http','pending',2,1790000128.0,1790000000.0,NULL,'','','status 503: busy');
INSERT INTO "sends" VALUES('20261122','51111111-1111-4111-8111-111115261122','antenna','done',1,1790000000.0,1790000000.0,1790000005.0,'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','/fs/5','');
INSERT INTO "sends" VALUES('20261122','51111111-1111-4111-8111-111115261122','http','pending',0,1790000000.0,1790000000.0,NULL,'','','');
INSERT INTO "sends" VALUES('20261122','61111111-1111-4111-8111-111116261122','antenna','done',1,1790000000.0,1790000000.0,1790000006.0,'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','/fs/6','');
INSERT INTO "sends" VALUES('20261122','61111111-1111-4111-8111-111116261122','http','pending',0,1790000000.0,1790000000.0,NULL,'','','');
INSERT INTO "sends" VALUES('20261122','71111111-1111-4111-8111-111117261122','antenna','done',1,1790000000.0,1790000000.0,1790000007.0,'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','/fs/7','');
INSERT INTO "sends" VALUES('20261122','71111111-1111-4111-8111-111117261122','http','pending',0,1790000000.0,1790000000.0,NULL,'','','');
CREATE INDEX due ON sends (destination, next_try, crash_id, attempts, noticed) WHERE state = 'pending';
CREATE INDEX dead ON sends (day) WHERE state = 'dead';
CREATE INDEX due_publishes ON publishes (next_try) WHERE state = 'pending';
COMMIT;
