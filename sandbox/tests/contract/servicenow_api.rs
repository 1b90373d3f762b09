use casewire_sandbox::{OAuthClient, SnOptions, SnUser};
use serde_json::{Value, json};

use crate::support::{Answer, CASE_API, as_hub, client, new_case, servicenow};

#[tokio::test]
async fn a_case_is_made_found_fed_and_closed() {
    let sn = servicenow(SnOptions::default()).await;
    let consumer = Answer::to(
        as_hub(&sn, "POST", "/api/now/consumer").json(&json!({"first_name": "Dana", "last_name": "K"})),
    )
    .await;
    assert_eq!(consumer.status, 201);
    let consumer = consumer.json()["result"].as_str().unwrap().to_owned();
    let case = new_case(&sn, json!({
        "consumer": consumer, "contact_type": "social", "short_description": "s".repeat(200), "priority": 2,
        "comments": "where is it?", "work_notes": "from X", "correlation_id": "x:1:2", "nonsense": "x", "sys_id": "mine",
        "social_channel": "TWITTER", "social_handle": "dana_k", "social_handle_type": "Consumer",
    })).await;
    let view = &sn.cases()[0];
    assert_eq!(
        (view.sys_id.as_str(), view.number.as_str(), view.state.as_str()),
        (case.as_str(), "CS0001001", "1")
    );
    assert_eq!(view.fields["short_description"].len(), 160);
    assert_eq!(
        (view.comments[0].text.as_str(), view.comments[0].author.as_str()),
        ("where is it?", "casewire")
    );
    assert_eq!(view.work_notes[0].text, "from X");
    let profile = &sn.social_profiles()[0];
    assert_eq!((profile.get("social_id"), profile.get("consumer")), ("dana_k", consumer.as_str()));

    let found = Answer::to(as_hub(
        &sn,
        "GET",
        &format!("{CASE_API}?sysparm_query=correlation_id=x:1:2&sysparm_limit=1"),
    ))
    .await;
    assert_eq!(found.header("x-total-count"), "1");
    assert!(found.header("link").contains("rel=\"first\""));
    let row = &found.json()["result"][0];
    assert_eq!((&row["comments"], &row["priority"]), (&json!(""), &json!("2")));
    assert_eq!(row["consumer"]["name"], "Dana K");
    let plain =
        format!("{CASE_API}?query=correlation_id=x:1:2&reference_fields=false&fields=consumer,number");
    let plain = Answer::to(as_hub(&sn, "GET", &plain)).await.json();
    assert_eq!(plain["result"], json!([{"consumer": consumer, "number": "CS0001001"}]));

    let put =
        as_hub(&sn, "PUT", &format!("{CASE_API}/{case}")).json(&json!({"comments": "second", "state": 10}));
    let put = Answer::to(put).await;
    assert_eq!((put.status, &put.json()["result"]), (201, &json!({"sys_id": case, "number": "CS0001001"})));
    let path = format!("{CASE_API}/{case}?sysparm_get_case_details=true");
    let details = Answer::to(as_hub(&sn, "PUT", &path).json(&json!({"state": "3"}))).await.json();
    assert_eq!((&details["result"]["state"], &details["result"]["active"]), (&json!("3"), &json!("false")));
    let missing = as_hub(&sn, "PUT", &format!("{CASE_API}/CS0001001")).json(&json!({"state": "1"}));
    assert_eq!(Answer::to(missing).await.status, 404);
    let by_number = Answer::to(as_hub(&sn, "GET", &format!("{CASE_API}/CS0001001"))).await;
    assert_eq!(by_number.json()["result"]["sys_id"], case);
    let texts: Vec<String> = sn.cases()[0].comments.iter().map(|comment| comment.text.clone()).collect();
    assert_eq!(texts, ["where is it?", "second"]);
}

#[tokio::test]
async fn a_journal_is_read_three_ways() {
    let sn = servicenow(SnOptions::default()).await;
    let case = new_case(&sn, json!({"comments": "one"})).await;
    let entry = sn.add_comment(&case, "agent.smith", "two").unwrap();
    let path = format!("{CASE_API}/{case}/activities?sysparm_activity_type=comments");
    let activities = Answer::to(as_hub(&sn, "GET", &path)).await.json();
    let entries = activities["result"]["entries"].as_array().unwrap();
    assert_eq!((&entries[0]["value"], &entries[0]["sys_id"]), (&json!("two"), &json!(entry)));
    assert_eq!((entries.len(), &entries[1]["login_name"]), (2, &json!("casewire")));
    let path = format!(
        "/api/now/table/sys_journal_field?sysparm_query=element_id={case}^element=comments^ORDERBYsys_created_on&sysparm_fields=value,sys_created_by"
    );
    let rows = Answer::to(as_hub(&sn, "GET", &path)).await.json();
    assert_eq!(rows["result"].as_array().unwrap().len(), 2);
    let path = format!("{CASE_API}/{case}?sysparm_display_value=all&sysparm_fields=comments,state");
    let shown = Answer::to(as_hub(&sn, "GET", &path)).await.json();
    let text = shown["result"]["comments"]["display_value"].as_str().unwrap();
    assert!(
        text.contains("agent.smith (Additional comments)\ntwo\n\n") && text.contains("casewire"),
        "{text}"
    );
    assert_eq!(shown["result"]["state"], json!({"display_value": "New", "value": "1"}));
}

#[tokio::test]
async fn an_unknown_field_in_a_query_is_dropped_and_the_rest_runs() {
    for (returns_no_rows, expected) in [(false, "2"), (true, "0")] {
        let sn =
            servicenow(SnOptions { invalid_query_returns_no_rows: returns_no_rows, ..SnOptions::default() })
                .await;
        new_case(&sn, json!({"correlation_id": "a"})).await;
        new_case(&sn, json!({"correlation_id": "b"})).await;
        let path = format!("{CASE_API}?sysparm_query=corelation_id=a");
        assert_eq!(Answer::to(as_hub(&sn, "GET", &path)).await.header("x-total-count"), expected);
    }
}

#[tokio::test]
async fn tables_behave_as_documented() {
    let sn = servicenow(SnOptions::default()).await;
    let admin = |method: &str, path: &str| {
        let request = client().request(method.parse().unwrap(), format!("{}{path}", sn.url()));
        request.basic_auth("admin", Some("sandbox")).header("accept", "application/json")
    };
    let made = Answer::to(
        as_hub(&sn, "POST", "/api/now/table/csm_consumer")
            .json(&json!({"name": "Dana", "correlation_id": "x"})),
    )
    .await;
    assert_eq!(made.status, 201);
    let row = made.json()["result"].clone();
    let sys_id = row["sys_id"].as_str().unwrap();
    assert!(row.get("correlation_id").is_none());
    assert_eq!(made.header("location"), format!("{}/api/now/table/csm_consumer/{sys_id}", sn.url()));
    let path = format!("/api/now/table/csm_consumer/{sys_id}");
    let patched = Answer::to(as_hub(&sn, "PATCH", &path).json(&json!({"city": "Graz"}))).await;
    assert_eq!((patched.status, &patched.json()["result"]["city"]), (200, &json!("Graz")));
    assert_eq!(Answer::to(as_hub(&sn, "DELETE", &path)).await.status, 204);
    assert_eq!(Answer::to(as_hub(&sn, "GET", &path)).await.status, 404);
    assert_eq!(Answer::to(as_hub(&sn, "PATCH", &path).json(&json!({}))).await.status, 404);
    for (path, status, message) in [
        ("/api/now/table/x_nothing", 400, "Invalid table x_nothing"),
        ("/api/now/nothing", 400, "Requested URI does not represent any resource"),
        ("/api/now/v1/table/csm_consumer", 404, "No Record found"),
    ] {
        let answer = Answer::to(as_hub(&sn, "GET", path)).await;
        assert_eq!((answer.status, &answer.json()["error"]["message"]), (status, &json!(message)));
        assert_eq!(answer.json()["status"], "failure");
    }
    assert_eq!(
        Answer::to(as_hub(&sn, "GET", "/api/now/v2/table/csm_consumer")).await.json(),
        json!({"result": []})
    );
    let no_type = Answer::to(as_hub(&sn, "POST", "/api/now/table/csm_consumer").body("{}")).await;
    assert_eq!(no_type.status, 400);
    let user = json!({"user_name": "x.1", "name": "Dana"});
    assert_eq!(Answer::to(as_hub(&sn, "POST", "/api/now/table/sys_user").json(&user)).await.status, 403);
    assert_eq!(Answer::to(admin("POST", "/api/now/table/sys_user").json(&user)).await.status, 201);
    let by_name =
        Answer::to(as_hub(&sn, "GET", "/api/now/table/sys_user?user_name=X.1&sysparm_fields=name")).await;
    assert_eq!(by_name.json(), json!({"result": [{"name": "Dana"}]}));
    let roles = "/api/now/table/sys_user_has_role?sysparm_query=user.user_name=casewire^role.name=csm_ws_integration&sysparm_fields=role.name,user";
    let roles = Answer::to(as_hub(&sn, "GET", roles)).await.json();
    assert_eq!(roles["result"][0]["role.name"], "csm_ws_integration");
    assert!(roles["result"][0]["user"]["link"].as_str().unwrap().contains("/api/now/table/sys_user/"));
}

#[tokio::test]
async fn a_social_profile_is_found_by_its_channel() {
    let sn = servicenow(SnOptions::default()).await;
    let body = json!({"name": "Dana", "social_channel": "TWITTER", "social_handle": "dana_k"});
    let consumer =
        Answer::to(as_hub(&sn, "POST", "/api/now/consumer").json(&body)).await.json()["result"].clone();
    let query = "/api/now/table/sn_app_cs_social_social_profile?sysparm_query=social_id=dana_k^channel.name=Twitter&sysparm_exclude_reference_link=true";
    let found = Answer::to(as_hub(&sn, "GET", query)).await.json();
    assert_eq!(found["result"][0]["consumer"], consumer);
}

#[tokio::test]
async fn every_way_to_log_in() {
    let users = vec![SnUser::integration("casewire", "sandbox"), SnUser::with_roles("nobody", "pw", &[])];
    let sn = servicenow(SnOptions { users, ..SnOptions::default() }).await;
    let url = format!("{}{CASE_API}", sn.url());
    let get = || client().get(&url);
    assert_eq!(Answer::to(get().basic_auth("casewire", Some("sandbox"))).await.status, 200);
    assert_eq!(Answer::to(get().header("x-sn-apikey", "sandbox-api-key")).await.status, 200);
    let wrong = Answer::to(get().basic_auth("casewire", Some("wrong"))).await;
    assert_eq!((wrong.status, wrong.header("www-authenticate")), (401, "BASIC realm=\"Service-now\""));
    assert_eq!(wrong.json()["error"]["detail"], "Required to provide Auth information");
    assert_eq!(Answer::to(get().bearer_auth("unknown")).await.status, 401);
    assert_eq!(Answer::to(get().basic_auth("nobody", Some("pw"))).await.status, 403);
    let answer = Answer::to(get().header("x-sn-apikey", "sandbox-api-key")).await;
    assert!(
        !answer.header("x-transaction-id").is_empty() && answer.header("server-timing").contains("sem_wait")
    );
}

#[tokio::test]
async fn tokens_are_given_as_documented() {
    let mut options = SnOptions::default();
    options.oauth_clients.push(OAuthClient {
        client_id: "bare".into(),
        client_secret: "s".into(),
        application_user: None,
    });
    let sn = servicenow(options).await;
    let ask = |pairs: &[(&str, &str)]| {
        let mut form = vec![("client_id", "sandbox-client"), ("client_secret", "sandbox-secret")];
        form.extend_from_slice(pairs);
        // Later values win, as in a form that names a field twice.
        client().post(format!("{}/oauth_token.do", sn.url())).form(&form)
    };
    let first = Answer::to(ask(&[("grant_type", "client_credentials")])).await;
    assert_eq!(first.status, 200, "{}", first.text);
    let token = first.json()["access_token"].as_str().unwrap().to_owned();
    assert!(first.json().get("refresh_token").is_none());
    assert!(first.json()["expires_in"].as_u64().unwrap() <= 1800);
    let again = Answer::to(ask(&[("grant_type", "client_credentials")])).await;
    assert_eq!(again.json()["access_token"], token.as_str());
    let get = |token: &str| client().get(format!("{}{CASE_API}", sn.url())).bearer_auth(token);
    assert_eq!(Answer::to(get(&token)).await.status, 200);
    sn.expire_access_tokens();
    assert_eq!(Answer::to(get(&token)).await.status, 401);
    let password = [("grant_type", "password"), ("username", "casewire"), ("password", "sandbox")];
    let granted = Answer::to(ask(&password)).await.json();
    let refresh = granted["refresh_token"].as_str().unwrap().to_owned();
    let renewed =
        Answer::to(ask(&[("grant_type", "refresh_token"), ("refresh_token", &refresh)])).await.json();
    assert_eq!(renewed["refresh_token"], refresh.as_str());
    assert_ne!(renewed["access_token"], granted["access_token"]);
    for (pairs, status, error) in [
        (vec![("grant_type", "password"), ("username", "casewire"), ("password", "no")], 401, "server_error"),
        (vec![("grant_type", "refresh_token"), ("refresh_token", "no")], 401, "invalid_grant"),
        (vec![("grant_type", "magic")], 400, "unsupported_grant_type"),
        (vec![("grant_type", "client_credentials"), ("client_id", "no")], 401, "invalid_client"),
        (vec![("grant_type", "client_credentials"), ("client_secret", "no")], 401, "server_error"),
        (
            vec![("grant_type", "client_credentials"), ("client_id", "bare"), ("client_secret", "s")],
            401,
            "invalid_grant",
        ),
    ] {
        let answer = Answer::to(ask(&pairs)).await;
        assert_eq!((answer.status, &answer.json()["error"]), (status, &json!(error)), "{pairs:?}");
    }
    let as_json = client()
        .post(format!("{}/oauth_token.do", sn.url()))
        .json(&json!({"grant_type": "client_credentials"}));
    assert_eq!(Answer::to(as_json).await.status, 401);
}

#[tokio::test]
async fn restricted_basic_authentication_refuses_the_right_password() {
    let users = vec![SnUser::with_roles("old", "pw", &["admin"]), SnUser::integration("new", "pw")];
    let sn = servicenow(SnOptions { users, basic_auth_restricted: true, ..SnOptions::default() }).await;
    let get = |user| client().get(format!("{}{CASE_API}", sn.url())).basic_auth(user, Some("pw"));
    let refused = Answer::to(get("old")).await;
    assert_eq!(
        (refused.status, &refused.json()["error"]["message"]),
        (401, &json!("User is not authenticated"))
    );
    assert_eq!(Answer::to(get("new")).await.status, 200);
}

#[tokio::test]
async fn many_instances_know_nothing_of_each_other() {
    let all = casewire_sandbox::ServiceNowSandbox::start_many(SnOptions::default(), 60).await.unwrap();
    new_case(&all[7], json!({"correlation_id": "seven"})).await;
    for (number, sn) in all.iter().enumerate() {
        assert_eq!(sn.cases().len(), usize::from(number == 7));
    }
    let inside = Answer::to(client().get(format!("{}/_sandbox/cases", all[7].url()))).await.json();
    assert_eq!(inside.as_array().map(Vec::len), Some(1));
    let empty: Value = Answer::to(client().get(format!("{}/_sandbox/cases", all[8].url()))).await.json();
    assert_eq!(empty, json!([]));
}

#[tokio::test]
async fn a_hook_is_told_of_comments_only() {
    let sn = servicenow(SnOptions::default()).await;
    let (told, heard) = std::sync::mpsc::channel();
    sn.on_comment(move |text| told.send(text.to_owned()).unwrap());
    let case = new_case(&sn, json!({"comments": "first", "work_notes": "inside"})).await;
    sn.add_comment(&case, "agent", "second").unwrap();
    sn.change_record("sn_customerservice_case", &case, &[("state", "10")]);
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["first", "second"]);
}
