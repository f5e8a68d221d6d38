-- A database of schema 1 as strata 0.1.0 wrote it (sqlite3 .dump), for the migration test.
PRAGMA application_id = 1937011316;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE data_samples (
  data_id TEXT NOT NULL REFERENCES data_sets (id), position INTEGER NOT NULL,
  sample_id TEXT NOT NULL REFERENCES samples (id), cluster TEXT NOT NULL,
  PRIMARY KEY (data_id, position)) WITHOUT ROWID;
INSERT INTO "data_samples" VALUES('c6aac7adac74cb37a932c173e6b060471ad0f621e8dcaec0ffa994490b6aeb59',0,'dfa508c296aabc444f15bd84157d736a2e69fe20043cf06f85fd7da6fc12f3db','');
INSERT INTO "data_samples" VALUES('c6aac7adac74cb37a932c173e6b060471ad0f621e8dcaec0ffa994490b6aeb59',1,'642fe51e78f53e031ad6929a942a6fe9fcd4c26d8252660f0bc1aa1f3b206788','');
CREATE TABLE data_sets (id TEXT PRIMARY KEY NOT NULL, benchmark TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "data_sets" VALUES('c6aac7adac74cb37a932c173e6b060471ad0f621e8dcaec0ffa994490b6aeb59','niah');
CREATE TABLE executions (
  id TEXT PRIMARY KEY NOT NULL, run_id TEXT NOT NULL REFERENCES runs (id), build TEXT NOT NULL,
  device TEXT NOT NULL, threads INTEGER NOT NULL, dtype TEXT NOT NULL, cpu TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "executions" VALUES('b5d95e421697c1ab10975c6ebb18c67864dff0be92d8e91ba5cc42ea39071454','ea637f7a8cd7781d753d9ec7bab099a936c282219f97c62099bd36cd05ed8899','0.1.0','cpu',1,'float32','Toy CPU');
CREATE TABLE experiments (
  id TEXT PRIMARY KEY NOT NULL, model_id TEXT NOT NULL REFERENCES models (id),
  tokenizer_id TEXT NOT NULL REFERENCES tokenizers (id), plan_id TEXT NOT NULL REFERENCES plans (id),
  generation_json TEXT NOT NULL, data_id TEXT NOT NULL REFERENCES data_sets (id),
  numerics_version INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "experiments" VALUES('91b64b4678bd0b857792a040d933691735eaa05ff51acdd857dc3a4b058c6f83','9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4','5f97e3774c51edd1d63706c2ec3826c564a067794770cdab0f8c4797971cacf9','45af209eeadaae0e1cfd64bb2839829ac00dcd9fbf9ef141471cd3128eee1853','{"dtype":"float32","limit":8}','c6aac7adac74cb37a932c173e6b060471ad0f621e8dcaec0ffa994490b6aeb59',1);
CREATE TABLE models (
  id TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL, path_hint TEXT NOT NULL, layers INTEGER NOT NULL,
  query_heads INTEGER NOT NULL, kv_heads INTEGER NOT NULL, parameters INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "models" VALUES('9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4','toy','/models/toy',8,2,2,1234);
CREATE TABLE plans (id TEXT PRIMARY KEY NOT NULL, plan_json TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "plans" VALUES('45af209eeadaae0e1cfd64bb2839829ac00dcd9fbf9ef141471cd3128eee1853','{"cells":[[1],[0],[1],[1],[1],[1],[1],[1]],"format":1,"granularity":"layer","id":"45af209eeadaae0e1cfd64bb2839829ac00dcd9fbf9ef141471cd3128eee1853","layout":{"kv_heads":2,"layers":8,"query_heads":2},"mask":[[0],[1],[0],[0],[0],[0],[0],[0]],"palette":[{"kind":"full"},{"kind":"sliding_window","sinks":2,"window":16}]}');
CREATE TABLE responses (
  experiment_id TEXT NOT NULL REFERENCES experiments (id), sample_id TEXT NOT NULL REFERENCES samples (id),
  execution_id TEXT NOT NULL REFERENCES executions (id), text TEXT NOT NULL, tokens_json TEXT NOT NULL,
  answer_nll_json TEXT NOT NULL, argmax_json TEXT NOT NULL, metrics_json TEXT NOT NULL, timings_json TEXT NOT NULL,
  prefill_flops REAL NOT NULL, decode_flops REAL NOT NULL, kv_bytes INTEGER NOT NULL,
  PRIMARY KEY (experiment_id, sample_id, execution_id));
INSERT INTO "responses" VALUES('91b64b4678bd0b857792a040d933691735eaa05ff51acdd857dc3a4b058c6f83','dfa508c296aabc444f15bd84157d736a2e69fe20043cf06f85fd7da6fc12f3db','b5d95e421697c1ab10975c6ebb18c67864dff0be92d8e91ba5cc42ea39071454','a','[1,2,49151]','[-0.1,0.1]','[3,4]','{"gen_contains":1.0,"tf_exact":0.0}','{"prefill_ms":12.5}',700000000.0,10000000.0,1750);
INSERT INTO "responses" VALUES('91b64b4678bd0b857792a040d933691735eaa05ff51acdd857dc3a4b058c6f83','642fe51e78f53e031ad6929a942a6fe9fcd4c26d8252660f0bc1aa1f3b206788','b5d95e421697c1ab10975c6ebb18c67864dff0be92d8e91ba5cc42ea39071454','a','[1,2,49151]','[0.0,0.2]','[3,4]','{"gen_contains":1.0,"tf_exact":0.0}','{"prefill_ms":12.5}',700000000.0,10000000.0,1750);
CREATE TABLE runs (
  id TEXT PRIMARY KEY NOT NULL, config_hash TEXT NOT NULL, config_json TEXT NOT NULL, started TEXT NOT NULL,
  finished TEXT NOT NULL, status TEXT NOT NULL CHECK (status IN ('running', 'done', 'failed', 'interrupted')),
  error TEXT NOT NULL, strategy TEXT NOT NULL, label TEXT NOT NULL, group_name TEXT NOT NULL, budget_units INTEGER,
  budget_fraction REAL, granularity TEXT NOT NULL, decode_rule TEXT NOT NULL, window INTEGER NOT NULL,
  sinks INTEGER NOT NULL, selection_id TEXT REFERENCES selections (id),
  experiment_id TEXT REFERENCES experiments (id), benchmark TEXT NOT NULL, benchmark_config_json TEXT NOT NULL,
  seeds_json TEXT NOT NULL, calibration_nll REAL);
INSERT INTO "runs" VALUES('ea637f7a8cd7781d753d9ec7bab099a936c282219f97c62099bd36cd05ed8899','1a039dbf467d5bb3cb5319dc34ec2089b0fa02274f8bd85bfe67005ee67bbd3c','{"strategy":"nll_guided"}','2025-01-31T12:00:00.000000Z','2025-01-31T12:05:00.000000Z','done','','nll_guided','nll_guided[restore]','nll_guided[restore]',1,0.25,'layer','same',16,2,'52d01618b36cdf11e620f26e2d8696a938f02041f7929d6a0e21ccc5aee94424','91b64b4678bd0b857792a040d933691735eaa05ff51acdd857dc3a4b058c6f83','niah','{"length":512,"task":"single"}','{"calibration":7}',NULL);
CREATE TABLE samples (
  id TEXT PRIMARY KEY NOT NULL, benchmark TEXT NOT NULL, prompt_text TEXT NOT NULL,
  prompt_tokens INTEGER NOT NULL, answers_json TEXT NOT NULL, metadata_json TEXT NOT NULL);
INSERT INTO "samples" VALUES('dfa508c296aabc444f15bd84157d736a2e69fe20043cf06f85fd7da6fc12f3db','niah','Where is it?
"0" – naïve	tab',100,'["answer 0","second|answer"]','{"depth":0.5,"distance":20}');
INSERT INTO "samples" VALUES('642fe51e78f53e031ad6929a942a6fe9fcd4c26d8252660f0bc1aa1f3b206788','niah','Where is it?
"1" – naïve	tab',101,'["answer 1","second|answer"]','{"depth":0.5,"distance":21}');
CREATE TABLE selections (
  id TEXT PRIMARY KEY NOT NULL, strategy TEXT NOT NULL, config_json TEXT NOT NULL,
  model_id TEXT NOT NULL REFERENCES models (id), plan_id TEXT NOT NULL REFERENCES plans (id),
  mask_json TEXT NOT NULL, scores_json TEXT NOT NULL, standard_errors_json TEXT NOT NULL,
  forward_tokens REAL NOT NULL, layer_tokens REAL NOT NULL, flops REAL NOT NULL, evaluations INTEGER NOT NULL,
  seconds REAL NOT NULL, peak_bytes INTEGER NOT NULL, supervision TEXT NOT NULL, calibration_id TEXT NOT NULL,
  seed INTEGER NOT NULL, diagnostics_json TEXT NOT NULL);
INSERT INTO "selections" VALUES('52d01618b36cdf11e620f26e2d8696a938f02041f7929d6a0e21ccc5aee94424','nll_guided','{"mode":"restore"}','9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4','45af209eeadaae0e1cfd64bb2839829ac00dcd9fbf9ef141471cd3128eee1853','[[0],[1],[0],[0],[0],[0],[0],[0]]','[[0.125],[2.5],[-0.25],[null],[0.0],[0.0],[0.0],[1.5]]','[[0.1],[0.2],[0.3],[null],[0.1],[0.1],[0.1],[0.4]]',8000.0,20000.0,1500000000000.0,40,3.25,1048576,'answers','e152337e4e85aa3e81482f0ce329aec7bfad531413fe53fef84f1f0d4165caee',9007199254740991,'{"stable":true}');
CREATE TABLE tokenizers (id TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "tokenizers" VALUES('5f97e3774c51edd1d63706c2ec3826c564a067794770cdab0f8c4797971cacf9','toy');
COMMIT;
