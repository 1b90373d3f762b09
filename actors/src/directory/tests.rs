use std::sync::Mutex;

use serde_json::{Value, json};

use super::*;
use crate::domain::account::{AccountForm, AccountView};
use crate::domain::fields::Writing;
use crate::domain::instance::{InstanceForm, InstanceView};
use crate::domain::rate::Rate;
use crate::domain::requester::Requester;
use crate::domain::sealing::{SealError, SealingKey};
use crate::kernel::panic_matrix::{PANICS, panics_when_told};
use crate::net::Reach;
use crate::shared::shared_for_tests;
use crate::store::accounts::AccountRow;

panics_when_told!(Directory);

type Changes = Arc<Mutex<Vec<TargetChange>>>;
type Forgotten = Arc<Mutex<Vec<String>>>;

struct Bench {
    directory: Mailbox<Directory>,
    desk: Desk,
    changes: Changes,
    /// Ids at X.
    forgotten: Forgotten,
    _folder: tempfile::TempDir,
}

async fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared_for_tests(folder.path()).await.unwrap();
    for name in ["u1", "u2"] {
        add_user(&shared, name).await;
    }
    let changes = Changes::default();
    let seen = Arc::clone(&changes);
    let forgotten = Forgotten::default();
    let told = Arc::clone(&forgotten);
    let desk = Desk {
        on_marked: Arc::new(|| ()),
        sealer: Sealer::new(&SealingKey::generate(&shared.sources), &[]),
        defaults: InstanceDefaults { reach: Reach::PrivateAllowed, rate: Rate::default(), concurrency: 4 },
        retry_for_ms: 86_400_000,
        routes: Routes::default(),
        on_changed: Arc::new(move |change| seen.lock().unwrap().push(change)),
        on_forgotten: Arc::new(move |ids| told.lock().unwrap().extend(ids)),
        shared,
    };
    let directory = start_directory(desk.clone()).await.unwrap();
    Bench { directory, desk, changes, forgotten, _folder: folder }
}

async fn add_user(shared: &Shared, id: &str) {
    let crate::store::Db::Sqlite(db) = &shared.db else { unreachable!("tests of actors are embedded") };
    let insert = "INSERT INTO users (id, username, username_key, first_name, last_name, company_name, password_hash, is_staff, is_active, date_joined) VALUES ($1, $1, $1, '', '', '', '', 0, 1, 1)";
    sqlx::query(insert).bind(id).execute(&db.writes).await.unwrap();
}

fn requester(id: &str) -> Requester {
    Requester { user_id: id.to_owned(), is_admin: id == "admin" }
}

fn instance_form(body: &Value, writing: Writing) -> InstanceForm {
    InstanceForm::read(body.as_object().unwrap(), writing)
}

fn account_form(body: &Value, writing: Writing) -> AccountForm {
    AccountForm::read(body.as_object().unwrap(), writing)
}

impl Bench {
    async fn create(&self, user: &str, url: &str) -> Result<InstanceView, DirectoryError> {
        let body =
            json!({ "instance_url": url, "auth": "basic", "admin_user": "hub", "admin_password": "pw" });
        let form = instance_form(&body, Writing::Create);
        self.directory.ask(CreateInstance { requester: requester(user), form }).await.unwrap()
    }

    async fn link(&self, user: &str, body: Value) -> Result<AccountView, DirectoryError> {
        let mut full = json!({ "access_token": "t", "access_token_secret": "s" });
        for (key, value) in body.as_object().unwrap() {
            full[key] = value.clone();
        }
        let form = account_form(&full, Writing::Create);
        self.directory.ask(LinkAccount { requester: requester(user), form }).await.unwrap()
    }

    async fn change(&self, user: &str, id: &str, body: Value) -> Result<InstanceView, DirectoryError> {
        let form = instance_form(&body, Writing::Patch);
        let change = ChangeInstance { requester: requester(user), id: id.to_owned(), form };
        self.directory.ask(change).await.unwrap()
    }

    async fn change_account(&self, user: &str, id: &str, body: Value) -> Result<AccountView, DirectoryError> {
        let form = account_form(&body, Writing::Patch);
        let change = ChangeAccount { requester: requester(user), id: id.to_owned(), form };
        self.directory.ask(change).await.unwrap()
    }

    fn told(&self) -> Vec<TargetChange> {
        std::mem::take(&mut self.changes.lock().unwrap())
    }

    async fn stored_account(&self, id: &str) -> AccountRow {
        crate::store::accounts::by_id(&self.desk.shared.db, id).await.unwrap().unwrap()
    }
}

fn messages(error: DirectoryError) -> Value {
    match error {
        DirectoryError::Invalid(errors) => Value::Object(errors.into_body()),
        other => panic!("not told by field: {other}"),
    }
}

#[actix_rt::test]
async fn an_instance_is_made_seen_changed_and_deleted() {
    let bench = bench().await;
    let made = bench.create("u1", "http://127.0.0.1:8081/").await.unwrap();
    assert_eq!(made.settings.instance_url.as_str(), "http://127.0.0.1:8081");
    assert_eq!((made.status.as_str(), made.n_queued, made.n_dead), ("unchecked", 0, 0));
    assert!(!made.to_json().to_string().contains("pw"), "a secret never comes out");

    let (db, sealer) = (&bench.desk.shared.db, &bench.desk.sealer);
    let loaded = load_instance(db, sealer, &made.id).await.unwrap().unwrap();
    assert_eq!(loaded.secrets.unwrap().admin_password.expose(), "pw");

    let changed = bench.change("u1", &made.id, json!({ "rate": "5 per 1m" })).await.unwrap();
    assert_eq!(changed.settings.rate.to_string(), "5 per 1m");
    let loaded = load_instance(db, sealer, &made.id).await.unwrap().unwrap();
    assert_eq!((loaded.secrets.unwrap().admin_password.expose(), loaded.version), ("pw", 2));
    let target = Target::Instance(made.id.clone());
    assert_eq!(bench.told(), [TargetChange { target: target.clone(), kind: ChangeKind::Settings }]);

    let delete = || DeleteInstance { requester: requester("u1"), id: made.id.clone() };
    assert_eq!(bench.directory.ask(delete()).await.unwrap(), Ok(()));
    assert_eq!(bench.directory.ask(delete()).await.unwrap(), Err(DirectoryError::NotFound));
    assert_eq!(bench.told(), [TargetChange { target, kind: ChangeKind::Gone }]);
    assert!(load_instance(db, sealer, &made.id).await.unwrap().is_none());
}

#[actix_rt::test]
async fn what_is_anothers_does_not_exist_except_for_an_admin() {
    let bench = bench().await;
    let instance = bench.create("u1", "http://127.0.0.1:1").await.unwrap().id;
    let account = bench.link("u1", json!({ "twitter_user_id": "42" })).await.unwrap().id;
    for (user, is_found) in [("u2", false), ("admin", true)] {
        let get = GetInstance { requester: requester(user), id: instance.clone() };
        assert_eq!(bench.directory.ask(get).await.unwrap().is_ok(), is_found, "{user}");
        let get = GetAccount { requester: requester(user), id: account.clone() };
        assert_eq!(bench.directory.ask(get).await.unwrap().is_ok(), is_found, "{user}");
        let changed = bench.change(user, &instance, json!({ "concurrency": 2 })).await;
        assert_eq!(changed.is_ok(), is_found, "{user}");
        let changed = bench.change_account(user, &account, json!({ "reply_channel": "same" })).await;
        assert_eq!(changed.is_ok(), is_found, "{user}");
    }
    let delete = DeleteInstance { requester: requester("u2"), id: instance };
    assert_eq!(bench.directory.ask(delete).await.unwrap(), Err(DirectoryError::NotFound));
    let forget = ForgetAccount { requester: requester("u2"), id: account };
    assert_eq!(bench.directory.ask(forget).await.unwrap(), Err(DirectoryError::NotFound));
    let list = ListInstances { user_id: "u2".to_owned(), limit: 9, offset: 0 };
    assert_eq!(bench.directory.ask(list).await.unwrap().unwrap().n_total, 0);
}

#[actix_rt::test]
async fn a_name_that_does_not_resolve_is_told_on_its_field() {
    let bench = bench().await;
    let refused = bench.create("u1", "https://nothing-here.invalid").await.unwrap_err();
    let told = messages(refused);
    assert!(told["instance_url"][0].as_str().unwrap().starts_with("Nothing-here.invalid does not"), "{told}");
}

#[actix_rt::test]
async fn routes_follow_every_change() {
    let bench = bench().await;
    let routes = bench.desk.routes.clone();
    let account = bench.link("u1", json!({ "twitter_user_id": "42", "screen_name": "@acme" })).await.unwrap();
    assert_eq!(routes.route("42").unwrap().target_id(), format!("unrouted:{}", account.id));

    // The first instance takes it over, the second one does not.
    let first = bench.create("u1", "http://127.0.0.1:1").await.unwrap().id;
    assert_eq!(routes.route("42").unwrap().instance_id.as_deref(), Some(first.as_str()));
    let second = bench.create("u1", "http://127.0.0.1:2").await.unwrap().id;
    assert_eq!(routes.route("42").unwrap().target_id(), first);
    bench.told();

    let moved = json!({ "instance": second, "case_policy": { "quote": true } });
    bench.change_account("u1", &account.id, moved).await.unwrap();
    let route = routes.by_account_id(&account.id).unwrap();
    assert_eq!((route.target_id(), route.case_policy.quote), (second.clone(), true));
    let told = bench.told();
    assert!(
        told.contains(&TargetChange { target: Target::Instance(second.clone()), kind: ChangeKind::Work })
    );

    let delete = DeleteInstance { requester: requester("u1"), id: second };
    bench.directory.ask(delete).await.unwrap().unwrap();
    assert_eq!(routes.route("42").unwrap().instance_id, None);

    let forgotten = bench.directory.ask(ForgetAccountsOf { user_id: "u1".to_owned() }).await.unwrap();
    assert_eq!(forgotten, Ok(1));
    assert_eq!(*bench.forgotten.lock().unwrap(), ["42"], "X is told");
    assert!(routes.route("42").is_none());
}

#[actix_rt::test]
async fn an_x_account_is_linked_once_in_the_hub() {
    let bench = bench().await;
    let account = bench.link("u1", json!({ "twitter_user_id": "42" })).await.unwrap();
    assert!(!account.to_json().to_string().contains("access_token"));
    let refused = bench.link("u2", json!({ "twitter_user_id": "42" })).await.unwrap_err();
    assert_eq!(messages(refused), json!({ "twitter_user_id": ["This X account is linked already."] }));
    let (db, sealer) = (&bench.desk.shared.db, &bench.desk.sealer);
    let loaded = load_account(db, sealer, &account.id).await.unwrap().unwrap();
    assert_eq!((loaded.secrets.unwrap().access_token.expose(), loaded.user_id.as_str()), ("t", "u1"));
}

#[actix_rt::test]
async fn an_account_feeds_only_an_instance_of_its_owner() {
    let bench = bench().await;
    let foreign = bench.create("u2", "http://127.0.0.1:1").await.unwrap().id;
    let body = json!({ "twitter_user_id": "42", "instance": foreign });
    let told = messages(bench.link("u1", body).await.unwrap_err());
    assert_eq!(told, json!({ "instance": [format!("Invalid pk \"{foreign}\" - object does not exist.")] }));
    let account = bench.link("u1", json!({ "twitter_user_id": "42" })).await.unwrap();
    assert_eq!(account.settings.instance_id, None);
    let refused = bench.change_account("admin", &account.id, json!({ "instance": foreign })).await;
    assert!(messages(refused.unwrap_err())["instance"].is_array());
}

#[actix_rt::test]
async fn changes_at_once_do_not_undo_each_other() {
    let bench = bench().await;
    let id = bench.create("u1", "http://127.0.0.1:1").await.unwrap().id;
    let patches = [
        json!({ "rate": "7 per 1s" }),
        json!({ "concurrency": 7 }),
        json!({ "mode": "app" }),
        json!({ "admin_password": "x" }),
    ];
    let changes = patches.map(|patch| bench.change("u1", &id, patch));
    for changed in futures_util::future::join_all(changes).await {
        changed.unwrap();
    }
    let loaded = load_instance(&bench.desk.shared.db, &bench.desk.sealer, &id).await.unwrap().unwrap();
    let settings = loaded.settings;
    assert_eq!((settings.rate.n_calls(), settings.concurrency, settings.mode.as_str()), (7, 7, "app"));
    assert_eq!((loaded.secrets.unwrap().admin_password.expose(), loaded.version), ("x", 5));
}

#[actix_rt::test]
async fn a_concurrency_that_is_no_longer_allowed_is_read_as_the_most() {
    let bench = bench().await;
    let id = bench.create("u1", "http://127.0.0.1:1").await.unwrap().id;
    let crate::store::Db::Sqlite(db) = &bench.desk.shared.db else {
        unreachable!("tests of actors are embedded")
    };
    let update = "UPDATE instances SET concurrency = 255 WHERE id = $1";
    sqlx::query(update).bind(&id).execute(&db.writes).await.unwrap();
    let get = GetInstance { requester: requester("u1"), id: id.clone() };
    let seen = bench.directory.ask(get).await.unwrap().unwrap();
    assert_eq!(seen.settings.concurrency, 64);
    let loaded = load_instance(&bench.desk.shared.db, &bench.desk.sealer, &id).await.unwrap().unwrap();
    assert_eq!(loaded.settings.concurrency, 64);
}

#[actix_rt::test]
async fn last_events_are_kept_in_memory_and_stored() {
    let bench = bench().await;
    let account = bench.link("u1", json!({ "twitter_user_id": "42" })).await.unwrap();
    bench.desk.routes.touch_account(&account.id, 1_700_000_000_500);
    let get = GetAccount { requester: requester("u1"), id: account.id.clone() };
    let seen = bench.directory.ask(get).await.unwrap().unwrap();
    assert_eq!(seen.last_event_at_ms, Some(1_700_000_000_500));
    assert_eq!(bench.stored_account(&account.id).await.last_event_at, None);
    bench.directory.ask(Refresh).await.unwrap().unwrap();
    assert_eq!(bench.stored_account(&account.id).await.last_event_at, Some(1_700_000_000_500));
}

#[actix_rt::test]
async fn credentials_that_do_not_open_can_be_entered_again() {
    let bench = bench().await;
    let id = bench.create("u1", "http://127.0.0.1:1").await.unwrap().id;
    let mut desk = bench.desk.clone();
    desk.sealer = Sealer::new(&SealingKey::generate(&desk.shared.sources), &[]);
    let patch = |body: Value| ChangeInstance {
        requester: requester("u1"),
        id: id.clone(),
        form: instance_form(&body, Writing::Patch),
    };
    let told =
        messages(instances::change(desk.clone(), patch(json!({ "concurrency": 2 }))).await.unwrap_err());
    assert_eq!(told, json!({ "admin_password": ["This field is required."] }));
    instances::change(desk.clone(), patch(json!({ "admin_password": "new" }))).await.unwrap();
    let loaded = load_instance(&desk.shared.db, &desk.sealer, &id).await.unwrap().unwrap();
    assert_eq!(loaded.secrets.unwrap().admin_password.expose(), "new");
}

#[actix_rt::test]
async fn a_new_key_seals_everything_anew_at_start() {
    let bench = bench().await;
    let id = bench.create("u1", "http://127.0.0.1:1").await.unwrap().id;
    let account = bench.link("u1", json!({ "twitter_user_id": "42" })).await.unwrap().id;
    let (old, new) =
        (SealingKey::generate(&bench.desk.shared.sources), SealingKey::generate(&bench.desk.shared.sources));
    let mut desk = bench.desk.clone();
    desk.sealer = Sealer::new(&old, &[]);
    let form = instance_form(&json!({ "admin_password": "pw" }), Writing::Patch);
    instances::change(desk.clone(), ChangeInstance { requester: requester("u1"), id: id.clone(), form })
        .await
        .unwrap();
    desk.sealer = Sealer::new(&new, &[old]);
    reseal::reseal(&desk).await.unwrap();
    let alone = Sealer::new(&new, &[]);
    let loaded = load_instance(&desk.shared.db, &alone, &id).await.unwrap().unwrap();
    assert_eq!(loaded.secrets.unwrap().admin_password.expose(), "pw");
    // Sealed with a key that is not known: left as it is.
    let loaded = load_account(&desk.shared.db, &alone, &account).await.unwrap().unwrap();
    assert_eq!(loaded.secrets.err(), Some(SealError::UnknownKey));
    let loaded = load_account(&desk.shared.db, &bench.desk.sealer, &account).await.unwrap().unwrap();
    assert!(loaded.secrets.is_ok());
}

#[actix_rt::test]
async fn every_panic_is_survived() {
    for panic in PANICS {
        let bench = bench().await;
        let id = bench.create("u1", "http://127.0.0.1:1").await.unwrap().id;
        let _interrupted = bench.directory.ask(panic).await;
        while bench.directory.card().restarts() == 0 {
            tokio::task::yield_now().await;
        }
        let get = || GetInstance { requester: requester("u1"), id: id.clone() };
        let found = loop {
            match bench.directory.ask(get()).await {
                Ok(found) => break found,
                Err(AskError::Interrupted) => tokio::task::yield_now().await,
                Err(error) => panic!("{panic:?}: {error}"),
            }
        };
        assert!(found.is_ok(), "{panic:?}");
    }
}
