use std::net::Ipv4Addr;

use super::*;
use crate::domain::token_policy::TokenPolicy;
use crate::kernel::panic_matrix::{PANICS, panics_when_told};
use crate::shared::shared_for_tests;
use crate::token_store::Company;

panics_when_told!(Accounts);

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn new_user(username: &str) -> CreateUser {
    CreateUser(NewUser {
        username: username.to_owned(),
        first_name: String::new(),
        last_name: String::new(),
        company_name: String::new(),
        is_staff: true,
        password: Secret::new("a password"),
    })
}

fn log_in(username: &str, password: &str) -> LogIn {
    LogIn { username: username.to_owned(), password: Secret::new(password), address: HERE }
}

#[test]
fn every_panic_is_survived() {
    System::new().block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let shared = shared_for_tests(folder.path()).await.expect("a store");
        let tokens = Tokens::start(&shared, TokenPolicy::default(), Company::Alone);
        let accounts = Accounts::start(&shared, &tokens, AttemptLimit::default());
        accounts.ask(new_user("a@b.example")).await.expect("an answer").expect("a user");
        for (panic, n) in PANICS.into_iter().zip(1..) {
            let _interrupted = accounts.ask(panic).await;
            while accounts.card().restarts() < n {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let asking = async {
                loop {
                    match accounts.ask(log_in("A@b.example", "a password")).await {
                        Ok(logged_in) => return logged_in,
                        Err(AskError::Interrupted) => tokio::task::yield_now().await,
                        Err(error) => panic!("refused for good: {error}"),
                    }
                }
            };
            let logged_in = tokio::time::timeout(Duration::from_secs(2), asking).await.expect("soon");
            assert_eq!(logged_in.expect("the password is right").user.username, "a@b.example", "{panic:?}");
        }
    });
}

#[test]
fn a_user_who_is_not_active_is_refused_like_one_who_is_not_there() {
    System::new().block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let shared = shared_for_tests(folder.path()).await.expect("a store");
        let tokens = Tokens::start(&shared, TokenPolicy::default(), Company::Alone);
        let accounts = Accounts::start(&shared, &tokens, AttemptLimit::default());
        let user = accounts.ask(new_user("a@b.example")).await.expect("an answer").expect("a user");
        let change = users::SetActive { user_id: user.id, is_active: false };
        shared.writer.ask(Apply(change)).await.expect("an answer").expect("a change");
        for username in ["a@b.example", "nobody@b.example"] {
            let refused = accounts.ask(log_in(username, "a password")).await.expect("an answer");
            assert_eq!(refused, Err(AccountsError::Refused), "{username}");
        }
    });
}
