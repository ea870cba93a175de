-- A database as revision 0003 left it. It must stay readable for ever, so this file never changes.
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0003');
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
	conversation_b JSON NOT NULL, source VARCHAR DEFAULT '' NOT NULL, answered_at DATETIME, 
	CONSTRAINT pk_battles PRIMARY KEY (id)
);
INSERT INTO "battles" VALUES('00000000000000000000000000000001','blind','ja','ja','math','sums',1,'2025-06-01 12:01:00.000000','2025-06-01 12:00:00.000000','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','phi','gemini-flash-latest','phi','gemini-flash-latest','v1','gemini-3.8-flash','stop','stop',0.2,0.9,300,7,'短く答えて。','{"temperature": 0.2, "top_p": 0.9, "max_new_tokens": 300, "seed": 7}','["preset_edited", "retried", "system_prompt"]','{"versions": {"torch": "2.13.0", "transformers": "5.24.0"}, "a": {"template": "sha256:abc"}, "b": {}}','{"id": "phi", "label": "Phi", "provider": "local", "source": "hub/phi", "revision": "0f3c", "engine": "transformers-cb", "precision": "bf16", "context_tokens": 131072, "licence": "mit", "price_in": 0.0, "price_out": 0.0, "variant_of": null, "system_prompt": null, "overrides": {}, "stand_in": false}','{"id": "gemini-flash-latest", "label": "Gemini Flash", "provider": "google", "source": "hub/gemini-flash-latest", "revision": "", "engine": "google-genai", "precision": "", "context_tokens": null, "licence": "", "price_in": 0.3, "price_out": 2.5, "variant_of": null, "system_prompt": null, "overrides": {}, "stand_in": false}','[{"prompt": "1+1は？\n改行と\"引用\", コンマ", "answer": {"text": "2です。😀 終わり", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": 5, "completion_tokens": 7, "thinking_tokens": null, "ttft_s": 0.25, "total_s": 1.5, "served_model": "v1", "sent": {"temperature": 0.7, "top_p": null, "seed": 1}, "cost_usd": null}, "cost_usd": 0.0}, "failed": [{"text": "途中まで", "finished": {"reason": "error", "error_code": "network", "prompt_tokens": null, "completion_tokens": null, "thinking_tokens": null, "ttft_s": null, "total_s": 1.5, "served_model": "", "sent": {}, "cost_usd": null}, "cost_usd": 0.0}]}]','[{"prompt": "1+1は？\n改行と\"引用\", コンマ", "answer": {"text": "**2**\n\n- `1+1`\n", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": 5, "completion_tokens": 7, "thinking_tokens": 30, "ttft_s": 0.25, "total_s": 1.5, "served_model": "gemini-3.8-flash", "sent": {"temperature": 0.7, "top_p": null, "seed": 1}, "cost_usd": 0.000102}, "cost_usd": 0.000102}, "failed": []}]','','2025-06-01 12:01:05.250000');
INSERT INTO "battles" VALUES('00000000000000000000000000000002','open','en','en','coding','loops',0,'2025-06-01 12:02:00.000000','2025-06-01 12:00:00.000000','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','phi-steps','phi','phi','phi','v1','v1','stop','stop',0.7,1.0,1024,42,NULL,'{"temperature": 0.7, "top_p": 1.0, "max_new_tokens": 1024, "seed": 42}','["open_mode", "variant"]','{}','{"id": "phi-steps", "label": "Phi-Steps", "provider": "local", "source": "hub/phi-steps", "revision": "", "engine": "", "precision": "", "context_tokens": null, "licence": "mit", "price_in": null, "price_out": null, "variant_of": "phi", "system_prompt": "一歩ずつ考えて", "overrides": {"temperature": 0.2, "max_new_tokens": 64}, "stand_in": false}','{"id": "phi", "label": "Phi", "provider": "local", "source": "hub/phi", "revision": "0f3c", "engine": "transformers-cb", "precision": "bf16", "context_tokens": 131072, "licence": "mit", "price_in": 0.0, "price_out": 0.0, "variant_of": null, "system_prompt": null, "overrides": {}, "stand_in": false}','[{"prompt": "Show a for loop.", "answer": {"text": "for i in range(3):\n    print(i)", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": 5, "completion_tokens": 7, "thinking_tokens": null, "ttft_s": 0.25, "total_s": 1.5, "served_model": "v1", "sent": {"temperature": 0.7, "top_p": null, "seed": 1}, "cost_usd": null}, "cost_usd": 0.0}, "failed": []}]','[{"prompt": "Show a for loop.", "answer": {"text": "# Loops\n\n1. `for`\n2. `while`", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": 5, "completion_tokens": 7, "thinking_tokens": null, "ttft_s": 0.25, "total_s": 1.5, "served_model": "v1", "sent": {"temperature": 0.7, "top_p": null, "seed": 1}, "cost_usd": null}, "cost_usd": 0.0}, "failed": []}]','','2025-06-01 12:02:03.000000');
INSERT INTO "battles" VALUES('00000000000000000000000000000003','single','ja','ja','reasoning',NULL,0,'2025-06-01 12:03:00.000000','2025-06-01 12:00:00.000000','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','smollm2',NULL,'smollm2',NULL,'int4',NULL,'stop',NULL,0.7,1.0,1024,42,NULL,'{"temperature": 0.7, "top_p": 1.0, "max_new_tokens": 1024, "seed": 42}','["stand_in"]','{}','{"id": "smollm2", "label": "SmolLM2 135M", "provider": "local", "source": "hub/smollm2", "revision": "", "engine": "", "precision": "int4", "context_tokens": null, "licence": "apache-2.0", "price_in": null, "price_out": null, "variant_of": null, "system_prompt": null, "overrides": {}, "stand_in": true}',NULL,'[{"prompt": "誰の味方か?", "answer": {"text": "Cさん", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": 5, "completion_tokens": 7, "thinking_tokens": null, "ttft_s": 0.25, "total_s": 1.5, "served_model": "int4", "sent": {"temperature": 0.7, "top_p": null, "seed": 1}, "cost_usd": null}, "cost_usd": 0.0}, "failed": []}]','[]','','2025-06-01 12:03:09.000000');
INSERT INTO "battles" VALUES('00000000000000000000000000000004','blind','ja','ja','document',NULL,0,'2025-06-01 12:04:00.000000','2025-06-01 12:00:00.000000','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','phi','gemini-flash-latest','phi','gemini-flash-latest','v1',NULL,'stop',NULL,0.0,1.0,1024,NULL,NULL,'{"temperature": 0.0, "top_p": 1.0, "max_new_tokens": 1024, "seed": null}','[]','{}','{"id": "phi", "label": "Phi", "provider": "local", "source": "hub/phi", "revision": "0f3c", "engine": "transformers-cb", "precision": "bf16", "context_tokens": 131072, "licence": "mit", "price_in": 0.0, "price_out": 0.0, "variant_of": null, "system_prompt": null, "overrides": {}, "stand_in": false}','{"id": "gemini-flash-latest", "label": "Gemini Flash", "provider": "google", "source": "hub/gemini-flash-latest", "revision": "", "engine": "google-genai", "precision": "", "context_tokens": null, "licence": "", "price_in": 0.3, "price_out": 2.5, "variant_of": null, "system_prompt": null, "overrides": {}, "stand_in": false}','[{"prompt": "要約して", "answer": {"text": "はい", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": 5, "completion_tokens": 7, "thinking_tokens": null, "ttft_s": 0.25, "total_s": 1.5, "served_model": "v1", "sent": {"temperature": 0.7, "top_p": null, "seed": 1}, "cost_usd": null}, "cost_usd": 0.0}, "failed": []}]','[{"prompt": "要約して", "answer": null, "failed": []}]','',NULL);
INSERT INTO "battles" VALUES('00000000000000000000000000000005','blind','ja','ja','tools',NULL,0,'2025-06-01 12:05:00.000000','2025-06-01 12:00:00.000000','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','gemini-flash-latest','phi','gemini-flash-latest','phi','gemini-3.8-flash','v1','stop','stop',0.7,1.0,1024,42,NULL,'{"temperature": 0.7, "top_p": 1.0, "max_new_tokens": 1024, "seed": 42}','[]','{}','{"id": "gemini-flash-latest", "label": "Gemini Flash", "provider": "google", "source": "hub/gemini-flash-latest", "revision": "", "engine": "google-genai", "precision": "", "context_tokens": null, "licence": "", "price_in": 0.3, "price_out": 2.5, "variant_of": null, "system_prompt": null, "overrides": {}, "stand_in": false}','{"id": "phi", "label": "Phi", "provider": "local", "source": "hub/phi", "revision": "0f3c", "engine": "transformers-cb", "precision": "bf16", "context_tokens": 131072, "licence": "mit", "price_in": 0.0, "price_out": 0.0, "variant_of": null, "system_prompt": null, "overrides": {}, "stand_in": false}','[{"prompt": "天気は?", "answer": {"text": "晴れ", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": 5, "completion_tokens": 7, "thinking_tokens": null, "ttft_s": 0.25, "total_s": 1.5, "served_model": "gemini-3.8-flash", "sent": {"temperature": 0.7, "top_p": null, "seed": 1}, "cost_usd": null}, "cost_usd": null}, "failed": []}]','[{"prompt": "天気は?", "answer": {"text": "晴れ", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": 5, "completion_tokens": 7, "thinking_tokens": null, "ttft_s": 0.25, "total_s": 1.5, "served_model": "v1", "sent": {"temperature": 0.7, "top_p": null, "seed": 1}, "cost_usd": null}, "cost_usd": 0.0}, "failed": []}]','',NULL);
INSERT INTO "battles" VALUES('00000000000000000000000000000006','blind','en','ja','free',NULL,0,'2025-06-01 12:06:00.000000','2025-06-01 12:00:00.000000','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','phi','gemini-flash-latest','phi','gemini-flash-latest','v1','gemini-3.8-flash','stop','stop',0.7,1.0,1024,42,NULL,'{"temperature": 0.7, "top_p": 1.0, "max_new_tokens": 1024, "seed": 42}','[]','{}','{"id": "phi", "label": "Phi", "provider": "local", "source": "hub/phi", "revision": "0f3c", "engine": "transformers-cb", "precision": "bf16", "context_tokens": 131072, "licence": "mit", "price_in": 0.0, "price_out": 0.0, "variant_of": null, "system_prompt": null, "overrides": {}, "stand_in": false}','{"id": "gemini-flash-latest", "label": "Gemini Flash", "provider": "google", "source": "hub/gemini-flash-latest", "revision": "", "engine": "google-genai", "precision": "", "context_tokens": null, "licence": "", "price_in": 0.3, "price_out": 2.5, "variant_of": null, "system_prompt": null, "overrides": {}, "stand_in": false}','[{"prompt": "Who are you?", "answer": {"text": "I am Phi-4-mini.", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": 5, "completion_tokens": null, "thinking_tokens": null, "ttft_s": 0.25, "total_s": 1.5, "served_model": "v1", "sent": {"temperature": 0.7, "top_p": null, "seed": 1}, "cost_usd": null}, "cost_usd": 0.0}, "failed": []}]','[{"prompt": "Who are you?", "answer": {"text": "I am Gemini.", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": 5, "completion_tokens": 7, "thinking_tokens": null, "ttft_s": 0.25, "total_s": 1.5, "served_model": "gemini-3.8-flash", "sent": {"temperature": 0.7, "top_p": null, "seed": 1}, "cost_usd": null}, "cost_usd": 0.0}, "failed": []}]','','2025-06-01 12:06:01.000000');
INSERT INTO "battles" VALUES('00000000000000000000000000000007','blind','other','en','free',NULL,0,'2025-04-22 12:00:00.000000','2025-06-01 12:00:00.000000','0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef','gpt-x','claude-x','gpt-x','claude-x','','','stop','stop',0.7,1.0,1024,NULL,NULL,'{"temperature": 0.7, "top_p": 1.0, "max_new_tokens": 1024, "seed": null}','[]','{}','{"id": "gpt-x", "label": "Gpt-X", "provider": "imported", "source": "gpt-x", "revision": "", "engine": "", "precision": "", "context_tokens": null, "licence": "", "price_in": null, "price_out": null, "variant_of": null, "system_prompt": null, "overrides": {}, "stand_in": false}','{"id": "claude-x", "label": "Claude-X", "provider": "imported", "source": "claude-x", "revision": "", "engine": "", "precision": "", "context_tokens": null, "licence": "", "price_in": null, "price_out": null, "variant_of": null, "system_prompt": null, "overrides": {}, "stand_in": false}','[{"prompt": "¿Qué tal?", "answer": {"text": "Bien", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": null, "completion_tokens": null, "thinking_tokens": null, "ttft_s": null, "total_s": 0.0, "served_model": "", "sent": {}, "cost_usd": null}, "cost_usd": null}, "failed": []}, {"prompt": "¿Y tú?", "answer": {"text": "También", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": null, "completion_tokens": null, "thinking_tokens": null, "ttft_s": null, "total_s": 0.0, "served_model": "", "sent": {}, "cost_usd": null}, "cost_usd": null}, "failed": []}]','[{"prompt": "¿Qué tal?", "answer": {"text": "Bien", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": null, "completion_tokens": null, "thinking_tokens": null, "ttft_s": null, "total_s": 0.0, "served_model": "", "sent": {}, "cost_usd": null}, "cost_usd": null}, "failed": []}, {"prompt": "¿Y tú?", "answer": {"text": "Igual", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": null, "completion_tokens": null, "thinking_tokens": null, "ttft_s": null, "total_s": 0.0, "served_model": "", "sent": {}, "cost_usd": null}, "cost_usd": null}, "failed": []}]','lmarena-140k',NULL);
INSERT INTO "battles" VALUES('00000000000000000000000000000008','blind','ja','ja','free',NULL,0,'2025-06-01 12:08:00.000000','2025-06-01 12:00:00.000000','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','phi','gemini-flash-latest','phi','gemini-flash-latest','v1','gemini-3.8-flash','length','stop',0.7,1.0,1024,42,NULL,'{"temperature": 0.7, "top_p": 1.0, "max_new_tokens": 1024, "seed": 42}','["truncated"]','{}','{"id": "phi", "label": "Phi", "provider": "local", "source": "hub/phi", "revision": "0f3c", "engine": "transformers-cb", "precision": "bf16", "context_tokens": 131072, "licence": "mit", "price_in": 0.0, "price_out": 0.0, "variant_of": null, "system_prompt": null, "overrides": {}, "stand_in": false}','{"id": "gemini-flash-latest", "label": "Gemini Flash", "provider": "google", "source": "hub/gemini-flash-latest", "revision": "", "engine": "google-genai", "precision": "", "context_tokens": null, "licence": "", "price_in": 0.3, "price_out": 2.5, "variant_of": null, "system_prompt": null, "overrides": {}, "stand_in": false}','[{"prompt": "話して", "answer": {"text": "昔々", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": 5, "completion_tokens": 7, "thinking_tokens": null, "ttft_s": 0.25, "total_s": 1.5, "served_model": "v1", "sent": {"temperature": 0.7, "top_p": null, "seed": 1}, "cost_usd": null}, "cost_usd": 0.0}, "failed": []}, {"prompt": "続き", "answer": {"text": "あるところに", "finished": {"reason": "length", "error_code": null, "prompt_tokens": 5, "completion_tokens": 7, "thinking_tokens": null, "ttft_s": 0.25, "total_s": 1.5, "served_model": "v1", "sent": {"temperature": 0.7, "top_p": null, "seed": 1}, "cost_usd": null}, "cost_usd": 0.0}, "failed": []}]','[{"prompt": "話して", "answer": {"text": "ある日", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": 5, "completion_tokens": 7, "thinking_tokens": null, "ttft_s": 0.25, "total_s": 1.5, "served_model": "gemini-3.8-flash", "sent": {"temperature": 0.7, "top_p": null, "seed": 1}, "cost_usd": null}, "cost_usd": 0.0}, "failed": []}, {"prompt": "続き", "answer": {"text": "山へ", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": 5, "completion_tokens": 7, "thinking_tokens": null, "ttft_s": 0.25, "total_s": 1.5, "served_model": "gemini-3.8-flash", "sent": {"temperature": 0.7, "top_p": null, "seed": 1}, "cost_usd": null}, "cost_usd": 0.0}, "failed": []}]','','2025-06-01 12:08:30.000000');
INSERT INTO "battles" VALUES('00000000000000000000000000000009','blind','ja','ja','free',NULL,0,'2025-06-01 12:09:00.000000','2025-06-01 12:00:00.000000','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','phi','gemini-flash-latest','phi','gemini-flash-latest','v1','v1','blocked','cancelled',0.7,1.0,1024,42,NULL,'{"temperature": 0.7, "top_p": 1.0, "max_new_tokens": 1024, "seed": 42}','[]','{}','{"id": "phi", "label": "Phi", "provider": "local", "source": "hub/phi", "revision": "0f3c", "engine": "transformers-cb", "precision": "bf16", "context_tokens": 131072, "licence": "mit", "price_in": 0.0, "price_out": 0.0, "variant_of": null, "system_prompt": null, "overrides": {}, "stand_in": false}','{"id": "gemini-flash-latest", "label": "Gemini Flash", "provider": "google", "source": "hub/gemini-flash-latest", "revision": "", "engine": "google-genai", "precision": "", "context_tokens": null, "licence": "", "price_in": 0.3, "price_out": 2.5, "variant_of": null, "system_prompt": null, "overrides": {}, "stand_in": false}','[{"prompt": "p", "answer": {"text": "", "finished": {"reason": "blocked", "error_code": "blocked", "prompt_tokens": 5, "completion_tokens": 7, "thinking_tokens": null, "ttft_s": 0.25, "total_s": 1.5, "served_model": "v1", "sent": {"temperature": 0.7, "top_p": null, "seed": 1}, "cost_usd": null}, "cost_usd": 0.0}, "failed": []}]','[{"prompt": "p", "answer": {"text": "stopp", "finished": {"reason": "cancelled", "error_code": null, "prompt_tokens": 5, "completion_tokens": 7, "thinking_tokens": null, "ttft_s": 0.25, "total_s": 1.5, "served_model": "v1", "sent": {"temperature": 0.7, "top_p": null, "seed": 1}, "cost_usd": null}, "cost_usd": 0.0}, "failed": []}]','',NULL);
INSERT INTO "battles" VALUES('0000000000000000000000000000000a','blind','ja','ja','free',NULL,0,'2025-06-01 12:10:00.000000','2025-06-01 12:00:00.000000','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','gemini-flash-latest','phi-café','gemini-flash-latest','phi-café','v1','v1','stop','stop',0.7,1.0,1024,42,NULL,'{"temperature": 0.7, "top_p": 1.0, "max_new_tokens": 1024, "seed": 42}','[]','{}','{"id": "gemini-flash-latest", "label": "Gemini Flash", "provider": "google", "source": "hub/gemini-flash-latest", "revision": "", "engine": "google-genai", "precision": "", "context_tokens": null, "licence": "", "price_in": 0.3, "price_out": 2.5, "variant_of": null, "system_prompt": null, "overrides": {}, "stand_in": false}','{"id": "phi-café", "label": "Φ", "provider": "local", "source": "hub/phi-café", "revision": "", "engine": "", "precision": "", "context_tokens": null, "licence": "", "price_in": null, "price_out": null, "variant_of": null, "system_prompt": null, "overrides": {}, "stand_in": false}','[{"prompt": "p", "answer": {"text": "same", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": 5, "completion_tokens": 7, "thinking_tokens": null, "ttft_s": 0.25, "total_s": 1.5, "served_model": "v1", "sent": {"temperature": 0.7, "top_p": null, "seed": 1}, "cost_usd": null}, "cost_usd": 0.0}, "failed": []}]','[{"prompt": "p", "answer": {"text": "same", "finished": {"reason": "stop", "error_code": null, "prompt_tokens": 5, "completion_tokens": 7, "thinking_tokens": null, "ttft_s": 0.25, "total_s": 1.5, "served_model": "v1", "sent": {"temperature": 0.7, "top_p": null, "seed": 1}, "cost_usd": null}, "cost_usd": 0.0}, "failed": []}]','',NULL);
CREATE TABLE daily_counts (
	name VARCHAR(64) NOT NULL, 
	day DATE NOT NULL, 
	count INTEGER NOT NULL, 
	CONSTRAINT pk_daily_counts PRIMARY KEY (name, day)
);
INSERT INTO "daily_counts" VALUES('gemini','2025-06-01',2);
CREATE TABLE exclusions (
	battle_id VARCHAR(32) NOT NULL, 
	decided_at DATETIME NOT NULL, 
	why TEXT NOT NULL, 
	lifted BOOLEAN NOT NULL, 
	CONSTRAINT pk_exclusions PRIMARY KEY (battle_id, decided_at), 
	CONSTRAINT fk_exclusions_battle_id FOREIGN KEY(battle_id) REFERENCES battles (id)
);
INSERT INTO "exclusions" VALUES('00000000000000000000000000000005','2025-06-01 12:20:00.000000','同じ人',0);
INSERT INTO "exclusions" VALUES('00000000000000000000000000000005','2025-06-01 12:30:00.000000','別の人だった',1);
INSERT INTO "exclusions" VALUES('00000000000000000000000000000006','2025-06-01 12:40:00.000000','a test, "mine"',0);
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
INSERT INTO "features" VALUES('00000000000000000000000000000001',1,1,98,727868236504941142,24.75,9,15,7,7,0.25,0.25,1.5,1.5,0.0,0.000102);
INSERT INTO "features" VALUES('00000000000000000000000000000002',1,1,9,7964867372682382661,27.0,31,28,7,7,0.25,0.25,1.5,1.5,0.0,0.0);
INSERT INTO "features" VALUES('00000000000000000000000000000005',1,1,0,5217092223114312096,NULL,2,2,7,7,0.25,0.25,1.5,1.5,NULL,0.0);
INSERT INTO "features" VALUES('00000000000000000000000000000006',1,1,393216,6420454082654308621,29.0,16,12,NULL,7,0.25,0.25,1.5,1.5,0.0,0.0);
INSERT INTO "features" VALUES('00000000000000000000000000000007',1,1,2097152,3415507925113174691,NULL,11,9,NULL,NULL,NULL,NULL,0.0,0.0,NULL,NULL);
INSERT INTO "features" VALUES('00000000000000000000000000000008',1,1,16,6122757850933275532,30.123456,8,5,14,14,0.25,0.25,3.0,3.0,0.0,0.0);
INSERT INTO "features" VALUES('0000000000000000000000000000000a',1,1,0,740548443802576524,NULL,4,4,7,7,0.25,0.25,1.5,1.5,0.0,0.0);
CREATE TABLE "meta" (
	"key" VARCHAR(160) NOT NULL, 
	value TEXT NOT NULL, 
	CONSTRAINT pk_meta PRIMARY KEY ("key")
);
INSERT INTO "meta" VALUES('voter_salt','kept');
INSERT INTO "meta" VALUES('restored:me/arena-votes','2025-06-01T12:00:00+00:00');
CREATE TABLE spending (
	name VARCHAR(160) NOT NULL, 
	day DATE NOT NULL, 
	micro_usd BIGINT NOT NULL, 
	CONSTRAINT pk_spending PRIMARY KEY (name, day)
);
INSERT INTO "spending" VALUES('google','2025-06-01',1234);
INSERT INTO "spending" VALUES('openai:gpt','2025-06-01',777);
CREATE TABLE uses (
	"key" VARCHAR(80) NOT NULL, 
	seconds INTEGER NOT NULL, 
	starts BIGINT NOT NULL, 
	count INTEGER NOT NULL, 
	CONSTRAINT pk_uses PRIMARY KEY ("key", seconds, starts)
);
INSERT INTO "uses" VALUES('aaaaaaaaaaaaaaaa',60,1748779200,2);
INSERT INTO "uses" VALUES('aaaaaaaaaaaaaaaa',86400,1748736000,2);
CREATE TABLE votes (
	battle_id VARCHAR(32) NOT NULL, 
	winner VARCHAR(16) NOT NULL, 
	voter VARCHAR(64) NOT NULL, 
	cast_at DATETIME NOT NULL, 
	reasons JSON NOT NULL, 
	comment TEXT, 
	guess TEXT, signed_in BOOLEAN DEFAULT 0 NOT NULL, grade_a VARCHAR(8), grade_b VARCHAR(8), source VARCHAR DEFAULT '' NOT NULL, 
	CONSTRAINT pk_votes PRIMARY KEY (battle_id), 
	CONSTRAINT fk_votes_battle_id FOREIGN KEY(battle_id) REFERENCES battles (id), 
	CONSTRAINT ck_votes_winner CHECK (winner IN ('model_a', 'model_b', 'tie', 'both_bad'))
);
INSERT INTO "votes" VALUES('00000000000000000000000000000001','model_a','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','2025-06-01 12:01:30.000000','["correct", "concise"]','良い。
"とても"','phi',1,'good','ok','');
INSERT INTO "votes" VALUES('00000000000000000000000000000002','model_b','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','2025-06-01 12:02:30.000000','["too_long"]','mail me at some.one@example.com',NULL,0,NULL,NULL,'');
INSERT INTO "votes" VALUES('00000000000000000000000000000005','tie','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','2025-06-01 12:05:30.000000','[]',NULL,'phi',0,NULL,NULL,'');
INSERT INTO "votes" VALUES('00000000000000000000000000000006','both_bad','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','2025-06-01 12:06:30.000000','["wrong", "off_point", "unsafe"]',NULL,NULL,1,'bad','bad','');
INSERT INTO "votes" VALUES('00000000000000000000000000000007','model_a','0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef','2025-04-22 12:00:00.000000','[]',NULL,NULL,0,NULL,NULL,'lmarena-140k');
INSERT INTO "votes" VALUES('00000000000000000000000000000008','model_b','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','2025-06-01 12:09:00.123456','[]',NULL,NULL,0,NULL,'good','');
INSERT INTO "votes" VALUES('0000000000000000000000000000000a','model_b','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','2025-06-01 12:10:30.000000','["natural", "complete", "clear"]',NULL,NULL,0,NULL,NULL,'');
CREATE INDEX ix_battles_created_at ON battles (created_at);
CREATE INDEX ix_uses_starts ON uses (starts);
COMMIT;
