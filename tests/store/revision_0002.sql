-- A database as revision 0002 left it. It must stay readable for ever, so this file never changes.
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0002');
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
	conversation_b JSON NOT NULL, 
	CONSTRAINT pk_battles PRIMARY KEY (id)
);
INSERT INTO "battles" VALUES('00000000000000000000000000000001','blind','ja','ja','math','sums',1,'2025-06-01 12:00:00.000000','2025-06-01 12:00:00.000000','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','phi','phi-steps','phi','phi','v1','v1','stop','stop',0.7,1.0,1024,42,NULL,'{"temperature": 0.7, "top_p": 1.0, "max_new_tokens": 1024, "seed": 42}','["preset_edited"]','{"versions": {"torch": "2"}, "a": {"template": "abc"}}','{"id": "phi", "label": "Phi", "provider": "local", "source": "hub/phi", "revision": "", "engine": "", "precision": "", "context_tokens": null, "licence": "", "price_in": null, "price_out": null, "variant_of": null, "system_prompt": null, "overrides": {}, "stand_in": false}','{"id": "phi-steps", "label": "Phi-Steps", "provider": "local", "source": "hub/phi-steps", "revision": "", "engine": "", "precision": "", "context_tokens": null, "licence": "", "price_in": null, "price_out": null, "variant_of": "phi", "system_prompt": "一歩ずつ", "overrides": {"temperature": 0.2}, "stand_in": false}','[{"prompt": "1+1は？", "answer": {"text": "2", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": 5, "completion_tokens": 7, "thinking_tokens": null, "ttft_s": 0.25, "total_s": 1.5, "served_model": "v1", "sent": {"temperature": 0.7, "seed": 1}, "cost_usd": null}, "cost_usd": 0.0}, "failed": [{"text": "", "finished": {"reason": "error", "error_code": "network", "prompt_tokens": 5, "completion_tokens": 7, "thinking_tokens": null, "ttft_s": 0.25, "total_s": 1.5, "served_model": "v1", "sent": {"temperature": 0.7, "seed": 1}, "cost_usd": null}, "cost_usd": 0.0}]}]','[{"prompt": "1+1は？", "answer": {"text": "答え", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": 5, "completion_tokens": 7, "thinking_tokens": null, "ttft_s": 0.25, "total_s": 1.5, "served_model": "v1", "sent": {"temperature": 0.7, "seed": 1}, "cost_usd": null}, "cost_usd": 0.0}, "failed": []}]');
INSERT INTO "battles" VALUES('00000000000000000000000000000002','single','ja','ja','math',NULL,0,'2025-06-01 12:00:00.000000','2025-06-01 12:00:00.000000','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','phi',NULL,'phi',NULL,'v1',NULL,'stop',NULL,0.7,1.0,1024,42,NULL,'{"temperature": 0.7, "top_p": 1.0, "max_new_tokens": 1024, "seed": 42}','["preset_edited"]','{"versions": {"torch": "2"}, "a": {"template": "abc"}}','{"id": "phi", "label": "Phi", "provider": "local", "source": "hub/phi", "revision": "", "engine": "", "precision": "", "context_tokens": null, "licence": "", "price_in": null, "price_out": null, "variant_of": null, "system_prompt": null, "overrides": {}, "stand_in": false}',NULL,'[{"prompt": "1+1は？", "answer": {"text": "答え", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": 5, "completion_tokens": 7, "thinking_tokens": null, "ttft_s": 0.25, "total_s": 1.5, "served_model": "v1", "sent": {"temperature": 0.7, "seed": 1}, "cost_usd": null}, "cost_usd": 0.0}, "failed": []}]','[]');
INSERT INTO "battles" VALUES('00000000000000000000000000000003','blind','ja','ja','math','sums',1,'2025-06-01 12:01:00.000000','2025-06-01 12:00:00.000000','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','phi','gemini','phi','gemini','v1','v1','stop','stop',0.7,1.0,1024,42,NULL,'{"temperature": 0.7, "top_p": 1.0, "max_new_tokens": 1024, "seed": 42}','["preset_edited"]','{"versions": {"torch": "2"}, "a": {"template": "abc"}}','{"id": "phi", "label": "Phi", "provider": "local", "source": "hub/phi", "revision": "", "engine": "", "precision": "", "context_tokens": null, "licence": "", "price_in": null, "price_out": null, "variant_of": null, "system_prompt": null, "overrides": {}, "stand_in": false}','{"id": "gemini", "label": "Gemini", "provider": "local", "source": "hub/gemini", "revision": "", "engine": "", "precision": "", "context_tokens": null, "licence": "", "price_in": null, "price_out": null, "variant_of": null, "system_prompt": null, "overrides": {}, "stand_in": false}','[{"prompt": "1+1は？", "answer": {"text": "答え", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": 5, "completion_tokens": 7, "thinking_tokens": null, "ttft_s": 0.25, "total_s": 1.5, "served_model": "v1", "sent": {"temperature": 0.7, "seed": 1}, "cost_usd": null}, "cost_usd": 0.0}, "failed": []}]','[{"prompt": "1+1は？", "answer": {"text": "答え", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": 5, "completion_tokens": 7, "thinking_tokens": null, "ttft_s": 0.25, "total_s": 1.5, "served_model": "v1", "sent": {"temperature": 0.7, "seed": 1}, "cost_usd": null}, "cost_usd": 0.0}, "failed": []}]');
CREATE TABLE daily_counts (
	name VARCHAR(64) NOT NULL, 
	day DATE NOT NULL, 
	count INTEGER NOT NULL, 
	CONSTRAINT pk_daily_counts PRIMARY KEY (name, day)
);
INSERT INTO "daily_counts" VALUES('gemini','2025-06-01',1);
CREATE TABLE exclusions (
	battle_id VARCHAR(32) NOT NULL, 
	decided_at DATETIME NOT NULL, 
	why TEXT NOT NULL, 
	lifted BOOLEAN NOT NULL, 
	CONSTRAINT pk_exclusions PRIMARY KEY (battle_id, decided_at), 
	CONSTRAINT fk_exclusions_battle_id FOREIGN KEY(battle_id) REFERENCES battles (id)
);
INSERT INTO "exclusions" VALUES('00000000000000000000000000000003','2025-06-01 12:00:00.000000','同じ人',0);
CREATE TABLE "meta" (
	"key" VARCHAR(160) NOT NULL, 
	value TEXT NOT NULL, 
	CONSTRAINT pk_meta PRIMARY KEY ("key")
);
INSERT INTO "meta" VALUES('voter_salt','kept');
CREATE TABLE spending (
	name VARCHAR(160) NOT NULL, 
	day DATE NOT NULL, 
	micro_usd BIGINT NOT NULL, 
	CONSTRAINT pk_spending PRIMARY KEY (name, day)
);
INSERT INTO "spending" VALUES('gemini','2025-06-01',1234);
CREATE TABLE uses (
	"key" VARCHAR(80) NOT NULL, 
	seconds INTEGER NOT NULL, 
	starts BIGINT NOT NULL, 
	count INTEGER NOT NULL, 
	CONSTRAINT pk_uses PRIMARY KEY ("key", seconds, starts)
);
INSERT INTO "uses" VALUES('aaaaaaaaaa',60,1748779200,1);
CREATE TABLE votes (
	battle_id VARCHAR(32) NOT NULL, 
	winner VARCHAR(16) NOT NULL, 
	voter VARCHAR(64) NOT NULL, 
	cast_at DATETIME NOT NULL, 
	reasons JSON NOT NULL, 
	comment TEXT, 
	guess TEXT, signed_in BOOLEAN DEFAULT 0 NOT NULL, 
	CONSTRAINT pk_votes PRIMARY KEY (battle_id), 
	CONSTRAINT fk_votes_battle_id FOREIGN KEY(battle_id) REFERENCES battles (id), 
	CONSTRAINT ck_votes_winner CHECK (winner IN ('model_a', 'model_b', 'tie', 'both_bad'))
);
INSERT INTO "votes" VALUES('00000000000000000000000000000001','tie','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','2025-06-01 12:00:00.000000','["clear"]','良い','a=phi',1);
INSERT INTO "votes" VALUES('00000000000000000000000000000003','model_b','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','2025-06-01 12:00:00.000000','["wrong", "too_long"]',NULL,NULL,0);
CREATE INDEX ix_battles_created_at ON battles (created_at);
CREATE INDEX ix_uses_starts ON uses (starts);
COMMIT;
