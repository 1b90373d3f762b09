//! A token that was ended through one replica is worth nothing at the other from that moment on.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use super::wire::{Caller, Reply, answer};
use super::world::{Cluster, Wanted, log_in};
use crate::postgres::server_or_skip;
use crate::process::hub::PASSWORD;

/// Each way of ending a token is tried so often, half of the times through either replica.
const N_ROUNDS: usize = N_LANES * 6;
/// So many users at once.
const N_LANES: usize = 4;
/// A token is used so often at both replicas before it is ended, so that both have it in memory.
const N_USES: usize = 3;

/// A way of ending tokens.
#[derive(Clone, Copy, Debug)]
enum End {
    Logout,
    LogoutAll,
    NewPassword,
    Revoked,
    Deleted,
}

const ENDS: [End; 5] = [End::Logout, End::LogoutAll, End::NewPassword, End::Revoked, End::Deleted];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ended_token_is_refused_everywhere() {
    let Some(server) = server_or_skip("an_ended_token_is_refused_everywhere") else { return };
    let wanted = Wanted {
        n_replicas: 2,
        n_instances: 1,
        settings: "servicenow: {allow_private_networks: true}\n",
        instance: json!({}),
    };
    let cluster = Cluster::start(&server, wanted).await;
    let lanes = (0..N_LANES).map(|lane| {
        let cluster = &cluster;
        async move {
            for round in (lane..N_ROUNDS).step_by(N_LANES) {
                end_tokens(cluster, round).await;
            }
        }
    });
    join_all(lanes).await;
    let n_checked = N_ROUNDS * ENDS.len();
    println!("an ended token is refused everywhere: {n_checked} of {n_checked} at the next request");
    cluster.check_health().await;
}

/// A user of its own, whose tokens end in every way.
async fn end_tokens(cluster: &Cluster, round: usize) {
    let (here, there) = (round % 2, (round + 1) % 2);
    let user = make_user(cluster, &format!("user{round}@example.com")).await;
    // The last one ends the user.
    for end in ENDS {
        let token = log_in(cluster.replicas[here].base(), &user.name, &user.password(end)).await;
        let [owner, elsewhere] =
            [here, there].map(|at| Caller::new(cluster.replicas[at].base()).with_token(&token));
        for _ in 0..N_USES {
            for caller in [&owner, &elsewhere] {
                assert_eq!(look(caller, &user).await.status, 200, "{end:?}: the token is good at first");
            }
        }
        carry_out(end, cluster, here, &user, &owner, &token).await;
        let refused = look(&elsewhere, &user).await;
        assert_eq!(refused.status, 401, "{end:?} in round {round}: {}", refused.text);
        assert_eq!(look(&owner, &user).await.status, 401, "{end:?} where it was ended");
    }
}

struct User {
    id: String,
    name: String,
}

impl User {
    /// The user has another password once it was changed.
    fn password(&self, end: End) -> String {
        match end {
            End::Revoked | End::Deleted => format!("{}-{PASSWORD}", self.id),
            _ => PASSWORD.to_owned(),
        }
    }

    fn path(&self) -> String {
        format!("/auth/users/{}/", self.id)
    }
}

async fn make_user(cluster: &Cluster, name: &str) -> User {
    let form = json!({
        "username": name, "password": PASSWORD, "first_name": "A", "last_name": "B", "company_name": "C",
    });
    let made = cluster.admin(0).post("/auth/users/", &form).await.expect("an answer");
    assert_eq!(made.status, 201, "{}", made.text);
    User { id: made.body["id"].as_str().expect("an id").to_owned(), name: name.to_owned() }
}

/// What any user may do.
async fn look(caller: &Caller, user: &User) -> Reply {
    caller.get(&user.path()).await.expect("an answer")
}

/// Ends the token through the replica with number `here`; returns when that is answered.
async fn carry_out(end: End, cluster: &Cluster, here: usize, user: &User, owner: &Caller, token: &str) {
    let admin = cluster.admin(here);
    let (request, expected) = match end {
        End::Logout => (owner.request(Method::POST, "/auth/logout/"), 204),
        End::LogoutAll => (owner.request(Method::POST, "/auth/logout-all/"), 204),
        End::NewPassword => {
            // By the admin: the token that changes a password by itself stays good.
            let form = json!({ "password": user.password(End::Deleted) });
            (admin.request(Method::PATCH, &format!("{}set-password/", user.path())).json(&form), 200)
        }
        End::Revoked => {
            let id = only_token(owner, token).await;
            (owner.request(Method::DELETE, &format!("/auth/tokens/{id}/")), 204)
        }
        End::Deleted => (admin.request(Method::DELETE, &user.path()), 204),
    };
    let ended = answer(request).await.expect("an answer");
    assert_eq!(ended.status, expected, "{end:?}: {}", ended.text);
}

/// The id of the user's only token.
async fn only_token(owner: &Caller, token: &str) -> String {
    let tokens = owner.get("/auth/tokens/").await.expect("an answer").body;
    assert_eq!(tokens.as_array().map(Vec::len), Some(1), "{tokens}");
    assert!(!tokens.to_string().contains(token), "a token is never told");
    tokens[0]["id"].as_str().map_or_else(|| panic!("an id: {tokens}"), str::to_owned)
}
