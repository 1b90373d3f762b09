use std::time::Duration;

use super::*;
use crate::kernel::panic_matrix::{PANICS, panics_when_told};
use crate::kernel::sources::ManualClock;
use crate::kernel::{AskError, Sources};
use crate::shared::shared_for_tests;
use crate::store::users;

panics_when_told!(TokenStore);

/// How long to wait for what another process did, which takes no longer than [`REACH`] on an idle machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A store with the user `u1`.
async fn furnished(folder: &std::path::Path) -> Shared {
    let shared = shared_for_tests(folder).await.expect("a store");
    let user = crate::domain::user::User {
        id: "u1".to_owned(),
        username: "u1@example.com".to_owned(),
        first_name: String::new(),
        last_name: String::new(),
        company_name: String::new(),
        is_staff: false,
        is_active: true,
        date_joined_ms: 0,
    };
    let insert = users::Insert { user, password_hash: "hash".to_owned() };
    shared.writer.ask(Apply(insert)).await.expect("an answer").expect("a user");
    shared
}

async fn issue(tokens: &Tokens) -> NewToken {
    let grant = Grant::Operator(Lifetime::Usual);
    let issue = IssueToken { user_id: "u1".to_owned(), name: String::new(), grant };
    tokens.mailbox().ask(issue).await.expect("an answer").expect("a token")
}

async fn check(tokens: &Tokens, token: &NewToken) -> Option<Arc<Session>> {
    tokens.check(token.token.expose()).await.expect("an answer")
}

async fn revoke(tokens: &Tokens, session: &Session) {
    let revoke = RevokeToken { token_id: session.token_id.clone(), user_id: None };
    assert_eq!(tokens.mailbox().ask(revoke).await.expect("an answer"), Ok(true));
}

#[test]
fn every_panic_is_survived_and_ends_no_token() {
    System::new().block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let shared = furnished(folder.path()).await;
        for panic in PANICS {
            let tokens = Tokens::start(&shared, TokenPolicy::default(), Company::Alone);
            let (live, ended) = (issue(&tokens).await, issue(&tokens).await);
            let session = check(&tokens, &ended).await.expect("a session");
            revoke(&tokens, &session).await;
            let _interrupted = tokens.mailbox().ask(panic).await;
            while tokens.mailbox().card().restarts() == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let asking = async {
                loop {
                    match tokens.check(live.token.expose()).await {
                        Ok(session) => return session,
                        Err(WriteError::Ask(AskError::Interrupted)) => tokio::task::yield_now().await,
                        Err(error) => panic!("refused for good: {error}"),
                    }
                }
            };
            let session = tokio::time::timeout(Duration::from_secs(1), asking).await.expect("soon");
            assert!(session.is_some(), "{panic:?}");
            assert!(check(&tokens, &ended).await.is_none(), "{panic:?}");
        }
    });
}

#[test]
fn an_ended_token_does_not_come_back_with_a_look_up_that_was_under_way() {
    System::new().block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let shared = furnished(folder.path()).await;
        let tokens = Tokens::start(&shared, TokenPolicy::default(), Company::Alone);
        for _ in 0..50 {
            let token = issue(&tokens).await;
            let session = check(&tokens, &token).await.expect("a session");
            tokens.sessions.clear();
            let looking = futures_util::future::join_all((0..8).map(|_| check(&tokens, &token)));
            futures_util::future::join(looking, revoke(&tokens, &session)).await;
            assert!(check(&tokens, &token).await.is_none());
        }
    });
}

#[test]
fn what_another_process_ended_is_noticed_within_its_reach() {
    System::new().block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let shared = furnished(folder.path()).await;
        let here = Tokens::start(&shared, TokenPolicy::default(), Company::Others);
        let there = Tokens::start(&shared, TokenPolicy::default(), Company::Others);
        for _ in 0..3 {
            let token = issue(&here).await;
            let session = check(&here, &token).await.expect("a session");
            assert_eq!(check(&there, &token).await, Some(Arc::clone(&session)));
            revoke(&there, &session).await;
            assert_eq!(check(&here, &token).await, None, "once the other says so");
        }
    });
}

#[test]
fn a_deactivated_user_is_told_as_such() {
    System::new().block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let shared = furnished(folder.path()).await;
        let tokens = Tokens::start(&shared, TokenPolicy::default(), Company::Alone);
        let token = issue(&tokens).await;
        assert!(check(&tokens, &token).await.expect("a session").user.is_active);
        let change = users::SetActive { user_id: "u1".to_owned(), is_active: false };
        shared.writer.ask(Apply(change)).await.expect("an answer").expect("a change");
        let begun = std::time::Instant::now();
        while check(&tokens, &token).await.expect("a session all the same").user.is_active {
            assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn a_token_is_refused_from_the_moment_it_expires() {
    const TTL_MS: u32 = 600_000;
    System::new().block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(ManualClock::at(1_700_000_000_000));
        let sources = Sources::seeded(clock.clone(), 1);
        let shared = Shared { sources, ..furnished(folder.path()).await };
        let ttl = Some(Duration::from_millis(TTL_MS.into()));
        let policy = TokenPolicy { ttl, ..TokenPolicy::default() };
        let tokens = Tokens::start(&shared, policy, Company::Alone);
        let token = issue(&tokens).await;
        clock.advance(i64::from(TTL_MS) - 1);
        assert!(check(&tokens, &token).await.is_some());
        clock.advance(1);
        assert!(check(&tokens, &token).await.is_none(), "from memory");
        tokens.sessions.clear();
        assert!(check(&tokens, &token).await.is_none(), "from the store");
    });
}
