-- A database as revision 0005 left it. It must stay readable for ever, so this file never changes.
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0005');
CREATE TABLE battles (
	id VARCHAR(32) NOT NULL, 
	mode VARCHAR(16) NOT NULL, 
	language VARCHAR(16) NOT NULL, 
	ui_language VARCHAR(16) NOT NULL, 
	category VARCHAR(32) NOT NULL, 
	preset_id VARCHAR, 
	preset_edited BOOLEAN NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	voter VARCHAR(64) NOT NULL, 
	model_a VARCHAR NOT NULL, 
	model_b VARCHAR, 
	base_a VARCHAR NOT NULL, 
	base_b VARCHAR, 
	served_model_a VARCHAR, 
	served_model_b VARCHAR, 
	finish_a VARCHAR(16), 
	finish_b VARCHAR(16), 
	temperature FLOAT NOT NULL, 
	top_p FLOAT NOT NULL, 
	max_new_tokens INTEGER NOT NULL, 
	seed INTEGER, 
	system_prompt TEXT, 
	params JSON NOT NULL, 
	flags JSON NOT NULL, 
	provenance JSON NOT NULL, 
	spec_a JSON NOT NULL, 
	spec_b JSON, 
	conversation_a JSON NOT NULL, 
	conversation_b JSON NOT NULL, source VARCHAR DEFAULT '' NOT NULL, answered_at DATETIME, erased JSON, 
	CONSTRAINT pk_battles PRIMARY KEY (id)
);
INSERT INTO "battles" VALUES('00000000000000000000000000000001','blind','ja','ja','math','sums',1,'2025-06-01 12:00:00.000000','2025-06-01 12:00:00.000000','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','phi','gemini','phi','gemini','v1','v1','stop','stop',0.7,1.0,1024,42,NULL,'{"temperature": 0.7, "top_p": 1.0, "max_new_tokens": 1024, "seed": 42}','["preset_edited"]','{"versions": {"torch": "2"}, "a": {"template": "abc"}}','{"id": "phi", "label": "Phi", "provider": "local", "source": "hub/phi", "revision": "", "engine": "", "precision": "", "context_tokens": null, "licence": "", "price_in": null, "price_out": null, "variant_of": null, "system_prompt": null, "overrides": {}, "stand_in": false}','{"id": "gemini", "label": "Gemini", "provider": "local", "source": "hub/gemini", "revision": "", "engine": "", "precision": "", "context_tokens": null, "licence": "", "price_in": null, "price_out": null, "variant_of": null, "system_prompt": null, "overrides": {}, "stand_in": false}','[{"prompt": "", "answer": {"text": "", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": 5, "completion_tokens": 7, "thinking_tokens": null, "ttft_s": 0.25, "total_s": 1.5, "served_model": "v1", "sent": {"temperature": 0.7, "seed": 1}, "cost_usd": null, "usage_doubtful": false}, "cost_usd": 0.0}, "failed": []}]','[{"prompt": "", "answer": {"text": "", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": 5, "completion_tokens": 7, "thinking_tokens": null, "ttft_s": 0.25, "total_s": 1.5, "served_model": "v1", "sent": {"temperature": 0.7, "seed": 1}, "cost_usd": null, "usage_doubtful": false}, "cost_usd": 0.0}, "failed": []}]','',NULL,'{"at": "2025-06-01T12:00:00+00:00", "found": 131072, "prompt": 1234567890123456789, "chars_a": 21, "chars_b": 4}');
INSERT INTO "battles" VALUES('00000000000000000000000000000002','blind','ja','ja','math','sums',1,'2025-06-01 12:01:00.000000','2025-06-01 12:00:00.000000','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','phi','gemini','phi','gemini','v1','v1','stop','stop',0.7,1.0,1024,42,NULL,'{"temperature": 0.7, "top_p": 1.0, "max_new_tokens": 1024, "seed": 42}','["preset_edited"]','{"versions": {"torch": "2"}, "a": {"template": "abc"}}','{"id": "phi", "label": "Phi", "provider": "local", "source": "hub/phi", "revision": "", "engine": "", "precision": "", "context_tokens": null, "licence": "", "price_in": null, "price_out": null, "variant_of": null, "system_prompt": null, "overrides": {}, "stand_in": false}','{"id": "gemini", "label": "Gemini", "provider": "local", "source": "hub/gemini", "revision": "", "engine": "", "precision": "", "context_tokens": null, "licence": "", "price_in": null, "price_out": null, "variant_of": null, "system_prompt": null, "overrides": {}, "stand_in": false}','[{"prompt": "1+1は？", "answer": {"text": "答え", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": 5, "completion_tokens": 7, "thinking_tokens": null, "ttft_s": 0.25, "total_s": 1.5, "served_model": "v1", "sent": {"temperature": 0.7, "seed": 1}, "cost_usd": null, "usage_doubtful": false}, "cost_usd": 0.0}, "failed": []}]','[{"prompt": "1+1は？", "answer": {"text": "正解", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": 5, "completion_tokens": 7, "thinking_tokens": null, "ttft_s": 0.25, "total_s": 1.5, "served_model": "v1", "sent": {"temperature": 0.7, "seed": 1}, "cost_usd": null, "usage_doubtful": false}, "cost_usd": 0.0}, "failed": []}]','',NULL,NULL);
CREATE TABLE daily_counts (
	name VARCHAR(64) NOT NULL, 
	day DATE NOT NULL, 
	count INTEGER NOT NULL, 
	CONSTRAINT pk_daily_counts PRIMARY KEY (name, day)
);
CREATE TABLE exclusions (
	battle_id VARCHAR(32) NOT NULL, 
	decided_at DATETIME NOT NULL, 
	why TEXT NOT NULL, 
	lifted BOOLEAN NOT NULL, 
	CONSTRAINT pk_exclusions PRIMARY KEY (battle_id, decided_at), 
	CONSTRAINT fk_exclusions_battle_id FOREIGN KEY(battle_id) REFERENCES battles (id)
);
CREATE TABLE features (
	battle_id VARCHAR(32) NOT NULL, 
	version INTEGER NOT NULL, 
	patterns INTEGER NOT NULL, 
	marks INTEGER NOT NULL, 
	prompt BIGINT NOT NULL, 
	read_seconds FLOAT, 
	chars_a INTEGER NOT NULL, 
	chars_b INTEGER NOT NULL, 
	tokens_a INTEGER, 
	tokens_b INTEGER, 
	ttft_a FLOAT, 
	ttft_b FLOAT, 
	total_a FLOAT NOT NULL, 
	total_b FLOAT NOT NULL, 
	cost_a FLOAT, 
	cost_b FLOAT, 
	CONSTRAINT pk_features PRIMARY KEY (battle_id), 
	CONSTRAINT fk_features_battle_id FOREIGN KEY(battle_id) REFERENCES battles (id)
);
INSERT INTO "features" VALUES('00000000000000000000000000000001',2,1,131074,1234567890123456789,NULL,21,4,7,7,0.25,0.25,1.5,1.5,0.0,0.0);
CREATE TABLE "meta" (
	"key" VARCHAR(160) NOT NULL, 
	value TEXT NOT NULL, 
	CONSTRAINT pk_meta PRIMARY KEY ("key")
);
INSERT INTO "meta" VALUES('voter_salt','kept');
INSERT INTO "meta" VALUES('last_erasure','2025-06-01T12:00:00+00:00');
CREATE TABLE spending (
	name VARCHAR(160) NOT NULL, 
	day DATE NOT NULL, 
	micro_usd BIGINT NOT NULL, 
	CONSTRAINT pk_spending PRIMARY KEY (name, day)
);
CREATE TABLE uses (
	"key" VARCHAR(80) NOT NULL, 
	seconds INTEGER NOT NULL, 
	starts BIGINT NOT NULL, 
	count INTEGER NOT NULL, 
	CONSTRAINT pk_uses PRIMARY KEY ("key", seconds, starts)
);
CREATE TABLE votes (
	battle_id VARCHAR(32) NOT NULL, 
	winner VARCHAR(16) NOT NULL, 
	voter VARCHAR(64) NOT NULL, 
	cast_at DATETIME NOT NULL, 
	reasons JSON NOT NULL, 
	comment TEXT, 
	guess TEXT, signed_in BOOLEAN DEFAULT 0 NOT NULL, grade_a VARCHAR(8), grade_b VARCHAR(8), source VARCHAR DEFAULT '' NOT NULL, pending_until DATETIME, 
	CONSTRAINT pk_votes PRIMARY KEY (battle_id), 
	CONSTRAINT fk_votes_battle_id FOREIGN KEY(battle_id) REFERENCES battles (id), 
	CONSTRAINT ck_votes_winner CHECK (winner IN ('model_a', 'model_b', 'tie', 'both_bad'))
);
INSERT INTO "votes" VALUES('00000000000000000000000000000001','model_a','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','2025-06-01 12:00:00.000000','[]',NULL,NULL,0,NULL,NULL,'',NULL);
CREATE INDEX ix_battles_created_at ON battles (created_at);
CREATE INDEX ix_uses_starts ON uses (starts);
CREATE INDEX ix_votes_pending_until ON votes (pending_until) WHERE pending_until IS NOT NULL;
COMMIT;
