//! What the table of tokens promises.

use super::users::{apply, delete, user};
use super::*;
use crate::domain::token::TokenKind;
use crate::store::Change;
use crate::store::marks;
use crate::store::tokens::{
    Extend, Issue, Issued, NewToken, ReplaceApiKey, Revoke, RevokeAll, Sweep, Touch, Use, by_digest,
    live_of_user,
};
use crate::store::users::SetPassword;

fn token(id: &str, kind: TokenKind, expires_at: Option<i64>) -> NewToken {
    NewToken {
        id: id.to_owned(),
        user_id: "u1".to_owned(),
        digest: format!("digest of {id}"),
        kind,
        name: String::new(),
        created_at: 100,
        expires_at,
    }
}

fn issue(id: &str, limit: Option<i64>) -> Issue {
    Issue { token: token(id, TokenKind::Session, Some(1000)), limit, verified_hash: None }
}

fn touch(uses: &[(&str, i64)]) -> Touch {
    Touch(uses.iter().map(|&(id, at)| Use { id: id.to_owned(), at }).collect())
}

async fn live(db: &Db) -> Vec<String> {
    live_of_user(db, "u1", 500).await.unwrap().into_iter().map(|row| row.id).collect()
}

#[tokio::test]
async fn the_limit_is_exact_under_concurrency() {
    on_every_database(|db| async move {
        apply!(&db, user("u1", "a@example.com", false)).expect("a user");
        let expired =
            Issue { token: token("old", TokenKind::Session, Some(50)), limit: None, verified_hash: None };
        assert_eq!(apply!(&db, expired), Ok(Issued::Done));
        apply!(&db, ReplaceApiKey(token("key", TokenKind::ApiKey, None))).expect("an API key");
        let ids: Vec<String> = (0..6).map(|n| format!("t{n}")).collect();
        let attempts = ids.iter().map(|id| {
            let db = &db;
            async move { apply!(db, issue(id, Some(3))).expect("an answer") }
        });
        let issued = futures_util::future::join_all(attempts).await;
        assert_eq!(issued.iter().filter(|issued| **issued == Issued::Done).count(), 3, "{issued:?}");
        assert_eq!(live(&db).await.len(), 4, "the API key is not counted");
    })
    .await;
}

#[tokio::test]
async fn a_token_needs_its_user_and_the_password_that_was_verified() {
    on_every_database(|db| async move {
        assert_eq!(apply!(&db, issue("t1", None)), Ok(Issued::Stale));
        apply!(&db, user("u1", "a@example.com", false)).expect("a user");
        let with = |id: &str, hash: &str| Issue { verified_hash: Some(hash.to_owned()), ..issue(id, None) };
        assert_eq!(apply!(&db, with("t1", "hash of u1")), Ok(Issued::Done));
        assert_eq!(apply!(&db, with("t2", "another hash")), Ok(Issued::Stale));
        assert_eq!(live(&db).await, ["t1"]);
    })
    .await;
}

#[tokio::test]
async fn whatever_ends_tokens_moves_the_mark() {
    on_every_database(|db| async move {
        apply!(&db, user("u1", "a@example.com", true)).expect("a user");
        apply!(&db, user("u2", "b@example.com", true)).expect("a user");
        for id in ["t1", "t2", "t3"] {
            apply!(&db, issue(id, None)).expect("a token");
        }
        let mark = marks::read(&db, marks::TOKENS).await.unwrap();
        let of = |user_id: &str| Revoke { token_id: "t1".to_owned(), user_id: Some(user_id.to_owned()) };
        assert_eq!(apply!(&db, of("u2")), Ok(None), "another's token");
        assert_eq!(apply!(&db, of("u1")), Ok(Some(("digest of t1".to_owned(), mark + 1))));
        assert_eq!(apply!(&db, of("u1")), Ok(None));
        assert_eq!(apply!(&db, ReplaceApiKey(token("key", TokenKind::ApiKey, None))), Ok(Some(mark + 2)));
        let second = ReplaceApiKey(token("key2", TokenKind::ApiKey, None));
        assert_eq!(apply!(&db, second), Ok(Some(mark + 3)));
        let set = SetPassword {
            user_id: "u1".to_owned(),
            password_hash: "new".to_owned(),
            spared_token_id: Some("t3".to_owned()),
        };
        assert_eq!(apply!(&db, set), Ok(Some(mark + 4)));
        assert_eq!(live(&db).await, ["key2", "t3"]);
        assert_eq!(apply!(&db, RevokeAll { user_id: "u1".to_owned() }), Ok(mark + 5));
        assert_eq!(live(&db).await, ["key2"]);
        apply!(&db, delete("u1")).expect("a deletion");
        assert!(live(&db).await.is_empty());
        assert_eq!(marks::read(&db, marks::TOKENS).await, Ok(mark + 6));
    })
    .await;
}

#[tokio::test]
async fn expired_tokens_are_swept_and_others_extended_and_touched() {
    on_every_database(|db| async move {
        apply!(&db, user("u1", "a@example.com", false)).expect("a user");
        apply!(&db, issue("t1", None)).expect("a token");
        let endless =
            Issue { token: token("t2", TokenKind::Session, None), limit: None, verified_hash: None };
        apply!(&db, endless).expect("a token");
        apply!(&db, touch(&[("t1", 300), ("gone", 300)])).expect("touched");
        apply!(&db, touch(&[("t1", 200)])).expect("touched");
        assert_eq!(live_of_user(&db, "u1", 500).await.unwrap()[0].last_used_at, Some(300));
        apply!(&db, Extend { token_id: "t1".to_owned(), expires_at: 2000 }).expect("extended");
        apply!(&db, Extend { token_id: "gone".to_owned(), expires_at: 2000 }).expect("nothing to extend");
        assert_eq!(apply!(&db, Sweep { now: 1999 }), Ok(0));
        let session = by_digest(&db, "digest of t1").await.unwrap().expect("a session");
        assert_eq!((session.expires_at_ms, session.user.id.as_str()), (Some(2000), "u1"));
        assert_eq!(apply!(&db, Sweep { now: 2000 }), Ok(1));
        assert_eq!(live(&db).await, ["t2"]);
        assert!(by_digest(&db, "digest of t1").await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn expired_tokens_go_part_by_part() {
    on_every_database(|db| async move {
        apply!(&db, user("u1", "a@example.com", false)).expect("a user");
        for n in 0..501 {
            apply!(&db, issue(&format!("t{n:03}"), None)).expect("a token");
        }
        for expected in [500, 1, 0] {
            assert_eq!(apply!(&db, Sweep { now: 2000 }), Ok(expected));
        }
    })
    .await;
}
