BEGIN TRANSACTION;
CREATE TABLE alarms (id TEXT PRIMARY KEY, rule TEXT NOT NULL, about TEXT NOT NULL, raised REAL NOT NULL,
    ended REAL, alarm TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "alarms" VALUES('alarm1','host silent','lae/node1',1790000000.0,NULL,'{"id":"alarm1","rule":"host silent","about":"lae/node1","cluster":"lae","host":"node1","level":"error","title":"node1 is silent","text":"See: lae-monitor host list","since":1790000000.0,"raised":1790000000.0,"ended":null,"why_ended":"","attrs":{}}');
INSERT INTO "alarms" VALUES('alarm2','host silent','lae/node2',1790000000.0,1790000005.0,'{"id":"alarm2","rule":"host silent","about":"lae/node2","cluster":"lae","host":"node2","level":"error","title":"node2 is silent","text":"See: lae-monitor host list","since":1790000000.0,"raised":1790000000.0,"ended":1790000005.0,"why_ended":"heard again","attrs":{}}');
CREATE TABLE deliveries (message TEXT NOT NULL, destination TEXT NOT NULL, made REAL NOT NULL,
    state TEXT NOT NULL, attempts INTEGER NOT NULL, next_try REAL NOT NULL, ended REAL, error TEXT NOT NULL,
    had TEXT NOT NULL, PRIMARY KEY (message, destination)) WITHOUT ROWID;
INSERT INTO "deliveries" VALUES('m1','mail',1790000001.0,'pending',3,1790000040.0,NULL,'b@example.org: 550 no such user','["a@example.org"]');
INSERT INTO "deliveries" VALUES('m1','webhook',1790000001.0,'done',2,1790000001.0,1790000009.0,'','[]');
INSERT INTO "deliveries" VALUES('m2','webhook',1790000002.0,'given up',99,1790000002.0,1790604800.0,'status 503','[]');
INSERT INTO "deliveries" VALUES('m3','webhook',1790000003.0,'pending',0,1790000003.0,NULL,'','[]');
CREATE TABLE entries (number INTEGER PRIMARY KEY, fields TEXT NOT NULL);
INSERT INTO "entries" VALUES(1,'{"rule": "host silent", "time": 1790000000.0}');
CREATE TABLE groups (id TEXT PRIMARY KEY, first TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "groups" VALUES('crash/x','k');
CREATE TABLE hosts (cluster TEXT NOT NULL, host TEXT NOT NULL, expected REAL NOT NULL, why TEXT NOT NULL,
    heard REAL, PRIMARY KEY (cluster, host)) WITHOUT ROWID;
INSERT INTO "hosts" VALUES('lae','node1',1789999100.0,'sent',1789999500.0);
CREATE TABLE marks (name TEXT PRIMARY KEY, time REAL NOT NULL) WITHOUT ROWID;
INSERT INTO "marks" VALUES('begun',1789999000.0);
INSERT INTO "marks" VALUES('looked',1790000000.0);
CREATE TABLE messages (id TEXT PRIMARY KEY, made REAL NOT NULL, alarms TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "messages" VALUES('m1',1790000001.0,'[{"id":"alarm1","rule":"host silent","about":"lae/node1","cluster":"lae","host":"node1","level":"error","title":"node1 is silent","text":"See: lae-monitor host list","since":1790000000.0,"raised":1790000000.0,"ended":null,"why_ended":"","attrs":{}}]');
INSERT INTO "messages" VALUES('m2',1790000002.0,'[{"id":"alarm2","rule":"host silent","about":"lae/node2","cluster":"lae","host":"node2","level":"error","title":"node2 is silent","text":"See: lae-monitor host list","since":1790000000.0,"raised":1790000000.0,"ended":null,"why_ended":"","attrs":{}}]');
INSERT INTO "messages" VALUES('m3',1790000003.0,'[{"id":"alarm3","rule":"host silent","about":"lae/node3","cluster":"lae","host":"node3","level":"error","title":"node3 is silent","text":"See: lae-monitor host list","since":1790000000.0,"raised":1790000000.0,"ended":null,"why_ended":"","attrs":{}}]');
CREATE INDEX groups_first ON groups (first);
CREATE UNIQUE INDEX alarms_held ON alarms (rule, about) WHERE ended IS NULL;
CREATE INDEX alarms_raised ON alarms (raised);
CREATE INDEX deliveries_due ON deliveries (destination, next_try) WHERE state = 'pending';
CREATE INDEX deliveries_made ON deliveries (made);
COMMIT;
