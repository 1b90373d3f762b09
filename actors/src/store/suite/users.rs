//! What the table of users promises.

use super::*;
use crate::domain::user::{Profile, User};
use crate::store::Change;
use crate::store::users::{Delete, Deletion, Insert, Update, by_id, by_username, page};

pub(in crate::store) fn user(id: &str, username: &str, is_staff: bool) -> Insert {
    let user = User {
        id: id.to_owned(),
        username: username.to_owned(),
        first_name: "Tony".to_owned(),
        last_name: "Stark".to_owned(),
        company_name: "100%_Stark!".to_owned(),
        is_staff,
        is_active: true,
        date_joined_ms: 1,
    };
    Insert { user, password_hash: format!("hash of {id}") }
}

pub(in crate::store) fn delete(id: &str) -> Delete {
    Delete { id: id.to_owned(), now_ms: 5 }
}

/// Applies a change in a transaction of its own, which is rolled back if it is refused.
macro_rules! apply {
    ($db:expr, $change:expr) => {{
        let change = $change;
        match $db {
            Db::Sqlite(db) => {
                let mut transaction = db.writes.begin_with("BEGIN IMMEDIATE").await.expect("a transaction");
                let result = change.apply(&mut Conn::Sqlite(&mut transaction)).await;
                if result.is_ok() {
                    transaction.commit().await.expect("a commit")
                }
                result
            }
            Db::Postgres(pool) => {
                let mut transaction = pool.begin().await.expect("a transaction");
                let result = change.apply(&mut Conn::Postgres(&mut transaction)).await;
                if result.is_ok() {
                    transaction.commit().await.expect("a commit")
                }
                result
            }
        }
    }};
}
pub(in crate::store) use apply;

#[tokio::test]
async fn names_are_unique_in_any_case_and_kept_as_written() {
    on_every_database(|db| async move {
        apply!(&db, user("u1", "Ann@Example.com", false)).expect("a user");
        assert_eq!(apply!(&db, user("u2", "aNN@example.COM", false)), Err(StoreError::Duplicate));
        let found = by_username(&db, "ANN@example.com").await.unwrap().expect("found in any case");
        assert_eq!((found.id.as_str(), found.username.as_str()), ("u1", "Ann@Example.com"));
        apply!(&db, user("u2", "b@example.com", false)).expect("a user");
        let take = |name: &str| Update {
            id: "u2".to_owned(),
            profile: Profile { username: Some(name.to_owned()), ..Profile::default() },
        };
        assert_eq!(apply!(&db, take("ann@example.com")), Err(StoreError::Duplicate));
        let (changed, _) = apply!(&db, take("B@example.com")).unwrap().expect("its own name in another case");
        assert_eq!((changed.username.as_str(), changed.first_name.as_str()), ("B@example.com", "Tony"));
        let absent = Update { id: "u9".to_owned(), profile: Profile::default() };
        assert_eq!(apply!(&db, absent), Ok(None));
    })
    .await;
}

#[tokio::test]
async fn a_search_is_taken_literally() {
    on_every_database(|db| async move {
        apply!(&db, user("u1", "a_b@example.com", false)).expect("a user");
        apply!(&db, user("u2", "axb@example.com", false)).expect("a user");
        for (search, expected) in [("", 2), ("A_B", 1), ("%_stark!", 2), ("%%", 0), ("tony", 2), ("x", 2)] {
            let (rows, n_all) = page(&db, search, 10, 0).await.unwrap();
            assert_eq!((rows.len(), n_all), (expected, i64::try_from(expected).unwrap()), "{search}");
        }
        let (rows, n_all) = page(&db, "", i64::MAX, 1).await.unwrap();
        assert_eq!((rows[0].id.as_str(), rows.len(), n_all), ("u2", 1, 2));
    })
    .await;
}

#[tokio::test]
async fn a_search_knows_the_capitals_of_every_letter() {
    on_every_database(|db| async move {
        for (id, first_name, last_name) in
            [("u1", "ÉMILE", "Ångström"), ("u2", "Emile", "Ölmez_50%"), ("u3", "Zoë", "ÖLMEZX50%")]
        {
            let mut insert = user(id, &format!("{id}@example.com"), false);
            first_name.clone_into(&mut insert.user.first_name);
            last_name.clone_into(&mut insert.user.last_name);
            apply!(&db, insert).expect("a user");
        }
        for (search, expected) in [
            ("émile", vec!["u1"]),
            ("ÉMILE", vec!["u1"]),
            ("emile", vec!["u2"]),
            ("ångSTRÖM", vec!["u1"]),
            ("ö", vec!["u1", "u2", "u3"]),
            ("ÖLMEZ_50%", vec!["u2"]),
            ("ß", vec![]),
        ] {
            let (rows, n_all) = page(&db, search, 10, 0).await.unwrap();
            let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
            assert_eq!((&ids, n_all), (&expected, i64::try_from(expected.len()).unwrap()), "{search}");
        }
        let (rows, n_all) = page(&db, "Ö", 1, 1).await.unwrap();
        assert_eq!((rows[0].id.as_str(), rows.len(), n_all), ("u2", 1, 3));
    })
    .await;
}

#[tokio::test]
async fn the_last_admin_stays() {
    on_every_database(|db| async move {
        apply!(&db, user("u1", "a@example.com", true)).expect("a user");
        apply!(&db, user("u2", "b@example.com", true)).expect("a user");
        apply!(&db, user("u3", "c@example.com", false)).expect("a user");
        assert!(matches!(apply!(&db, delete("u1")), Ok(Deletion::Done(_))));
        assert_eq!(apply!(&db, delete("u1")), Ok(Deletion::Absent));
        assert_eq!(apply!(&db, delete("u2")), Ok(Deletion::LastAdmin));
        assert!(matches!(apply!(&db, delete("u3")), Ok(Deletion::Done(_))));
        assert!(by_id(&db, "u2").await.unwrap().is_some());
    })
    .await;
}

#[tokio::test]
async fn two_admins_who_delete_each_other_leave_one() {
    on_every_database(|db| async move {
        for _ in 0..5 {
            for id in ["u1", "u2"] {
                let _may_be_there = apply!(&db, user(id, id, true));
            }
            let deletions = futures_util::future::join(async { apply!(&db, delete("u1")) }, async {
                apply!(&db, delete("u2"))
            });
            let (one, other) = deletions.await;
            let n_done = [&one, &other].iter().filter(|done| matches!(done, Ok(Deletion::Done(_)))).count();
            assert_eq!(n_done, 1, "{one:?} {other:?}");
        }
    })
    .await;
}
