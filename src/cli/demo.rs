//! `casewire demo`: the whole story on one machine, with a simulated X and a simulated ServiceNow.
//!
//! Everything goes the public way: signed webhook bodies, the hub's API with a token, the instances'
//! REST APIs. Only the two sides are simulated, and the story says so.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use casewire_actors::domain::secret::Secret;
use casewire_actors::hub::Migrate;
use casewire_sandbox::{
    ApiClient, CaseView, ServiceNowSandbox, SnOptions, XAccount, XOptions, XSandbox, XUser, bodies,
};
use serde_json::{Value, json};

use crate::Application;
use crate::settings::Settings;
use crate::startup;

const LOGIN: &str = "admin@example.com";
const PASSWORD: &str = "casewire-demo";
/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Tells the story. With `once` it ends after it, else the hub stays up until it is stopped.
pub async fn run(once: bool) -> Result<()> {
    let folder = tempfile::tempdir().context("no temporary folder can be made")?;
    let x = XSandbox::start(XOptions::default()).await.context("the simulated X does not start")?;
    let instance = ServiceNowSandbox::start(SnOptions::default())
        .await
        .context("the simulated ServiceNow does not start")?;
    let settings = settings(folder.path(), &x)?;
    let hub = startup::start_hub(&settings, Migrate::Embedded).await?;
    startup::create_admin(&hub, LOGIN, &Secret::new(PASSWORD)).await?;
    let application = Application::build(settings, hub)?;
    let base = format!("http://{}", application.address());
    let stopper = application.stopper();
    let running = actix_rt::spawn(application.run_until_stopped());

    let story = Story { x, instance, hub: ApiClient::new(&base)?, account: acme() };
    let told = story.tell(&base).await;
    match (&told, once) {
        (Ok(()), false) => stay(&story, &base),
        (Ok(()), true) => {
            println!("\nEverything arrived.");
            stopper.stop().await;
        }
        (Err(_), _) => stopper.stop().await,
    }
    let served = running.await.context("the hub's task ended early")?;
    told?;
    served.context("the hub did not stop in order")
}

fn stay(story: &Story, base: &str) {
    println!("\nThe hub stays up. Stop it with Ctrl-C.");
    println!("  hub                   {base}   (API documents at {base}/api/docs/)");
    println!("  login                 {LOGIN} / {PASSWORD}");
    println!("  simulated X           {}   (what you can do there is on its front page)", story.x.url());
    println!("  simulated ServiceNow  {}   (likewise; cases at /_sandbox/cases)", story.instance.url());
}

fn settings(folder: &std::path::Path, x: &XSandbox) -> Result<Settings> {
    let mut settings = Settings::default();
    settings.server.listen = ([127, 0, 0, 1], 0).into();
    let database = format!("sqlite://{}/demo.db", folder.display());
    settings.database.url = database.parse().map_err(anyhow::Error::msg)?;
    settings.twitter.api_url = x.url().parse().map_err(anyhow::Error::msg)?;
    settings.twitter.consumer_key = Some(Secret::new(x.options().consumer_key.clone()));
    settings.twitter.consumer_secret = Some(Secret::new(x.options().consumer_secret.clone()));
    settings.twitter.bearer_token = Some(Secret::new(x.options().bearer_token.clone()));
    settings.servicenow.allow_private_networks = true;
    Ok(settings)
}

fn acme() -> XAccount {
    XAccount {
        id: "990001234567890177".to_owned(),
        screen_name: "AcmeCare".to_owned(),
        name: "Acme Care".to_owned(),
        access_token: "990001234567890177-demo".to_owned(),
        access_token_secret: "demo-token-secret".to_owned(),
    }
}

/// Everyone who takes part.
struct Story {
    x: XSandbox,
    instance: ServiceNowSandbox,
    hub: ApiClient,
    account: XAccount,
}

impl Story {
    async fn tell(&self, base: &str) -> Result<()> {
        println!("Casewire between a simulated X and a simulated ServiceNow.\n");
        let hub = self.log_in().await?;
        self.set_up(&hub, base).await?;
        let dana = XUser::new("1205550247124217891", "dana_k", "Dana K.");
        let sam = XUser::new("1305550247124217001", "sam_w", "Sam");
        self.direct_message(base, &dana).await?;
        self.duplicate(base, &dana).await?;
        self.photo(base, &dana).await?;
        self.mention(base, &sam).await?;
        self.retweet(base, &sam).await?;
        self.answer(&hub, &dana).await?;
        ensure!(self.instance.cases().len() == 2, "there should be one case for each customer");
        Ok(())
    }

    async fn log_in(&self) -> Result<ApiClient> {
        let credentials = json!({ "username": LOGIN, "password": PASSWORD });
        let (status, body) = self.hub.post("/auth/login/", &credentials).await?;
        let token = body["token"].as_str().filter(|_| status == 200).context("the login was refused")?;
        step("An administrator logs in", "the hub issues a token");
        Ok(self.hub.with_token(token))
    }

    async fn set_up(&self, hub: &ApiClient, base: &str) -> Result<()> {
        let instance = json!({
            "instance_url": self.instance.url(),
            "auth": "basic",
            "admin_user": "casewire",
            "admin_password": "sandbox",
        });
        expect(201, &hub.post("/api/servicenow-details/", &instance).await?, "the instance")?;
        step("They connect a ServiceNow instance", self.instance.url());

        self.x.add_account(self.account.clone());
        let account = json!({
            "twitter_user_id": self.account.id,
            "screen_name": self.account.screen_name,
            "access_token": self.account.access_token,
            "access_token_secret": self.account.access_token_secret,
        });
        expect(201, &hub.post("/api/twitter-details/", &account).await?, "the X account")?;
        step("They link an X account", "@AcmeCare; its webhook will be");
        println!("      {base}/api/activity/");
        Ok(())
    }

    async fn direct_message(&self, base: &str, dana: &XUser) -> Result<()> {
        let text = "Hi, my order 4711 never arrived. Can you help?";
        step("Dana writes a direct message on X", text);
        let body = bodies::dm_body(&self.account.user(), dana, DM_ID, text, NOW_MS);
        self.deliver(base, body, "accepted").await?;
        let case = self.case_with(text).await?;
        reached(&case);
        Ok(())
    }

    async fn duplicate(&self, base: &str, dana: &XUser) -> Result<()> {
        step("X sends the same message again", "as it sometimes does");
        let text = "Hi, my order 4711 never arrived. Can you help?";
        let body = bodies::dm_body(&self.account.user(), dana, DM_ID, text, NOW_MS);
        self.deliver(base, body, "duplicates").await
    }

    async fn photo(&self, base: &str, dana: &XUser) -> Result<()> {
        step("Dana sends a photo without words", "the same conversation, so the same case");
        let body = bodies::photo_dm_body(&self.account.user(), dana, PHOTO_ID, "", NOW_MS + 1000);
        self.deliver(base, body, "accepted").await?;
        let case = self.case_with("[photo]").await?;
        ensure!(case.comments.len() == 2, "the photo should be the case's second comment");
        reached(&case);
        Ok(())
    }

    async fn mention(&self, base: &str, sam: &XUser) -> Result<()> {
        let text = "@AcmeCare is your shop down?";
        step("Sam mentions the account in a post", text);
        let body = bodies::mention_body(&self.account.user(), sam, MENTION_ID, text, NOW_MS + 2000);
        self.deliver(base, body, "accepted").await?;
        let case = self.case_with(text).await?;
        reached(&case);
        Ok(())
    }

    async fn retweet(&self, base: &str, sam: &XUser) -> Result<()> {
        step("Sam retweets the account", "no message to anyone, so nothing may happen");
        let body = bodies::retweet_body(&self.account.user(), sam, RETWEET_ID, "News!", NOW_MS + 3000);
        self.deliver(base, body, "ignored").await
    }

    async fn answer(&self, hub: &ApiClient, dana: &XUser) -> Result<()> {
        let text = "Hello Dana, we have sent it again. It arrives tomorrow.";
        step("An agent answers on Dana's case", text);
        let case = self.case_with("order 4711").await?;
        let entry = self.instance.add_comment(&case.sys_id, "agent", text).context("the case is gone")?;
        let event = json!({
            "message": text,
            "case": case.sys_id,
            "event_id": entry,
            "number": case.number,
        });
        let (status, body) = hub.post("/api/events/", &event).await?;
        ensure!(matches!(status, 200 | 202), "ServiceNow's event was refused: {status} {body}");
        let mut state = body;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while state["status"] != "delivered" {
            ensure!(tokio::time::Instant::now() < deadline, "the answer did not reach X: {state}");
            tokio::time::sleep(Duration::from_millis(20)).await;
            let id = state["id"].as_str().unwrap_or_default().to_owned();
            state = hub.get(&format!("/api/events/{id}/")).await?.1;
        }
        let sent = self.x.sent_dms();
        let sent = sent.iter().find(|dm| dm.text == text).context("X did not get the answer")?;
        ensure!(sent.recipient_id == dana.id, "the answer went to somebody else");
        println!("      on X: direct message {} to @{}", state["message_id"], dana.screen_name);
        Ok(())
    }

    /// Posts a signed body to the hub, as X does, and checks how it was counted.
    async fn deliver(&self, base: &str, body: String, counted_as: &str) -> Result<()> {
        let posted = self.x.post_webhook(&format!("{base}/api/activity/"), body).await?;
        let receipt: Value = serde_json::from_str(&posted.body).unwrap_or_default();
        ensure!(posted.status == 200, "the hub answered X with {} {}", posted.status, posted.body);
        println!("      the hub answers X: {receipt}");
        ensure!(receipt[counted_as] == 1, "this should have been counted under \"{counted_as}\"");
        Ok(())
    }

    /// Waits for the case with a comment that holds the text.
    async fn case_with(&self, text: &str) -> Result<CaseView> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let has_text = |case: &CaseView| case.comments.iter().any(|comment| comment.text.contains(text));
            if let Some(case) = self.instance.cases().into_iter().find(has_text) {
                return Ok(case);
            }
            if tokio::time::Instant::now() >= deadline {
                bail!("\"{text}\" did not reach ServiceNow");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Ids of the played messages, in X's order.
const DM_ID: &str = "1206724334791753739";
const PHOTO_ID: &str = "1206724338986057741";
const MENTION_ID: &str = "1206724343180361743";
const RETWEET_ID: &str = "1206724347374665745";
/// When they were written, in epoch milliseconds.
const NOW_MS: i64 = 1_576_538_951_000;

fn step(what: &str, detail: &str) {
    println!("  * {what}: {detail}");
}

fn reached(case: &CaseView) {
    let comment = case.comments.last().map_or("", |comment| comment.text.as_str());
    println!("      in ServiceNow: case {}, comment {}", case.number, case.comments.len());
    for line in comment.lines() {
        println!("        | {line}");
    }
}

fn expect(status: u16, answer: &(u16, Value), what: &str) -> Result<()> {
    ensure!(answer.0 == status, "{what} was refused: {} {}", answer.0, answer.1);
    Ok(())
}
