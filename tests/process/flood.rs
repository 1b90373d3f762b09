//! A user whose answers cannot be sent fills its own queue and is told so with 429; nobody else notices, and
//! what was refused was not kept.

use std::time::{Duration, Instant};

use casewire_sandbox::{ApiClient, ServiceNowSandbox, SnOptions, XAccount, XLimits, XOptions, XUser, bodies};
use reqwest::Method;
use serde_json::json;

use super::cluster::wire::{Caller, Reply, answer};
use super::hub::{PASSWORD, Running, World, account, settle};

const QUEUE_LIMIT: usize = 20;
const PAUSE: Duration = Duration::from_millis(50);
/// So often both users post while the one's queue is full.
const N_TOGETHER: usize = 12;
const PATIENCE: Duration = Duration::from_mins(1);

/// One user with an instance, an account and a customer.
struct Party {
    caller: Caller,
    client: ApiClient,
    account: XAccount,
    customer: XUser,
    case: String,
    _instance: ServiceNowSandbox,
}

#[actix_rt::test]
async fn a_full_queue_is_its_users_alone() {
    let options = XOptions { limits: XLimits::unlimited(), ..World::options("flood-secret") };
    let settings = format!(
        "servicenow: {{allow_private_networks: true}}\n\
         delivery: {{queue_limit: {QUEUE_LIMIT}, rate: '10000 per 1s'}}\n"
    );
    let world = World::with(options, &settings).await.quiet();
    let hub = world.serve().await;
    let admin = world.log_in(&hub).await;
    let flooder = Party::new(&world, &hub, &admin, account()).await;
    let bystander = Party::new(&world, &hub, &admin, another_account()).await;

    world.x.revoke_account(&flooder.account.id);
    let mut taken = Vec::new();
    let refused = loop {
        let text = format!("flood {}", taken.len());
        let reply = flooder.post(&text, "respond-async").await;
        if reply.status != 202 {
            break reply;
        }
        taken.push(text);
        assert!(taken.len() <= QUEUE_LIMIT, "the queue has no end");
    };
    assert_eq!(taken.len(), QUEUE_LIMIT, "{}", refused.text);
    expect_full(&refused);

    // Both at once, again and again: the one is refused, the other is served.
    for nth in 0..N_TOGETHER {
        let (too_much, welcome) = (format!("too much {nth}"), format!("welcome {nth}"));
        let (refused, served) =
            tokio::join!(flooder.post(&too_much, "wait=20"), bystander.post(&welcome, "wait=20"));
        expect_full(&refused);
        expect_delivered(&served);
        assert_eq!(ids_of(&world, &welcome), [served.body["message_id"].as_str().expect("an id")]);
    }

    // X takes the account's messages again.
    world.x.add_account(XAccount { access_token: "new-token".to_owned(), ..flooder.account.clone() });
    flooder.give_token("new-token").await;
    settle(&flooder.client, PATIENCE).await;
    assert_eq!(flooder.arrived(&world), taken, "what was taken has arrived, in its order, and nothing else");

    // What was refused may come again under the same id, and is then sent.
    let begun = Instant::now();
    let again = loop {
        let reply = flooder.post("too much 0", "wait=20").await;
        if reply.status != 429 {
            break reply;
        }
        expect_full(&reply);
        assert!(begun.elapsed() < PATIENCE, "an empty queue counts as full");
        tokio::time::sleep(PAUSE).await;
    };
    expect_delivered(&again);
    taken.push("too much 0".to_owned());
    assert_eq!(flooder.arrived(&world), taken);
    assert_eq!(bystander.arrived(&world).len(), N_TOGETHER);
}

fn another_account() -> XAccount {
    XAccount {
        id: "990001234567890178".to_owned(),
        screen_name: "OtherCare".to_owned(),
        name: "Other Care".to_owned(),
        access_token: "other-token".to_owned(),
        access_token_secret: "other-token-secret".to_owned(),
    }
}

fn expect_full(reply: &Reply) {
    assert_eq!(reply.status, 429, "{}", reply.text);
    assert!(reply.retry_after.is_some_and(|seconds| seconds > 0), "{reply:?}");
}

fn expect_delivered(reply: &Reply) {
    assert_eq!((reply.status, &reply.body["status"]), (200, &json!("delivered")), "{}", reply.text);
}

/// The ids at X of the messages with this text.
fn ids_of(world: &World, text: &str) -> Vec<String> {
    world.x.sent_dms().into_iter().filter(|dm| dm.text == text).map(|dm| dm.id).collect()
}

impl Party {
    /// Makes the user and links the account; a customer has written to it already.
    async fn new(world: &World, hub: &Running, admin: &ApiClient, account: XAccount) -> Self {
        let username = format!("{}@example.com", account.screen_name.to_lowercase());
        let form = json!({
            "username": username, "password": PASSWORD, "first_name": "A", "last_name": "B", "company_name": "C",
        });
        let (status, made) = admin.post("/auth/users/", &form).await.expect("an answer");
        assert_eq!(status, 201, "{made}");
        let credentials = json!({ "username": username, "password": PASSWORD });
        let (status, login) = admin.post("/auth/login/", &credentials).await.expect("an answer");
        assert_eq!(status, 200, "{login}");
        let token = login["token"].as_str().expect("a token");
        let client = admin.with_token(token);

        let instance = ServiceNowSandbox::start(SnOptions::default()).await.expect("a simulated instance");
        world.x.add_account(account.clone());
        world.link(&client, &instance, &account, json!({})).await;
        let customer = XUser::new(&format!("5{}", account.id), "customer", "Customer");
        let body =
            bodies::dm_body(&account.user(), &customer, &world.x.next_id(), "Help!", 1_700_000_000_000);
        let posted = world.x.post_webhook(&hub.webhook(), body).await.expect("an answer");
        assert_eq!(posted.status, 200);
        settle(&client, PATIENCE).await;
        let case = instance.cases()[0].sys_id.clone();
        let caller = Caller::new(&hub.base).with_token(token);
        Self { caller, client, account, customer, case, _instance: instance }
    }

    /// Posts an answer to the customer; its text is its id as well.
    async fn post(&self, text: &str, prefer: &str) -> Reply {
        let event = json!({ "message": text, "case": self.case, "event_id": text });
        let request = self.caller.request(Method::POST, "/api/events/").json(&event);
        answer(request.header("prefer", prefer)).await.expect("an answer")
    }

    /// The account gets another token at the hub.
    async fn give_token(&self, token: &str) {
        let accounts = self.caller.get("/api/twitter-details/").await.expect("an answer").body;
        let id = accounts[0]["id"].as_str().unwrap_or_else(|| panic!("an id: {accounts}"));
        let request = self.caller.request(Method::PATCH, &format!("/api/twitter-details/{id}/"));
        let tokens =
            json!({ "access_token": token, "access_token_secret": self.account.access_token_secret });
        let changed = answer(request.json(&tokens)).await.expect("an answer");
        assert_eq!(changed.status, 200, "{}", changed.text);
    }

    /// What the customer has got, in the order in which it came.
    fn arrived(&self, world: &World) -> Vec<String> {
        let sent = world.x.sent_dms().into_iter();
        sent.filter(|dm| dm.recipient_id == self.customer.id).map(|dm| dm.text).collect()
    }
}
