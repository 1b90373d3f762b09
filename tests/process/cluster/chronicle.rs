//! What became of what was accepted: lost, doubled, out of order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use casewire_sandbox::{CallRecord, CaseView, RecordView, ServiceNowSandbox, XDm};

use super::agents::Answers;
use super::customers::Customer;

/// So many details are told.
const N_DETAILS: usize = 20;

/// What went wrong; all zero when nothing did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) n_lost: usize,
    pub(crate) n_doubled: usize,
    pub(crate) n_out_of_order: usize,
    /// Customers without exactly one open case.
    pub(crate) n_other_than_one_case: usize,
    /// Cases more or fewer than customers, open or not, and whoever they seem to belong to.
    pub(crate) n_odd_cases: usize,
    /// Comments that nobody wrote to this company, or that stand in the case of another customer.
    pub(crate) n_foreign: usize,
    /// Customers without exactly one record.
    pub(crate) n_other_than_one_record: usize,
    details: Vec<String>,
}

impl Verdict {
    /// Compares the comments on the instances with what was accepted of each customer.
    pub(crate) fn of(instances: &[ServiceNowSandbox], taken: &BTreeMap<Customer, u64>) -> Self {
        let mut verdict = Self::default();
        for (company, instance) in instances.iter().enumerate() {
            let expected: BTreeMap<Customer, u64> = taken
                .iter()
                .filter(|(customer, _)| customer.company == company)
                .map(|(c, n)| (*c, *n))
                .collect();
            verdict.judge(instance, &expected);
        }
        verdict.details.truncate(N_DETAILS);
        verdict
    }

    fn judge(&mut self, instance: &ServiceNowSandbox, expected: &BTreeMap<Customer, u64>) {
        let n_records = instance.consumers().len();
        self.n_other_than_one_record += n_records.abs_diff(expected.len());
        if n_records != expected.len() {
            self.details.push(doubled_records(instance));
        }
        let cases = instance.cases();
        self.n_odd_cases += cases.len().abs_diff(expected.len());
        if cases.len() != expected.len() {
            self.details.push(format!("{} customers have {} cases", expected.len(), cases.len()));
        }
        let n_doubled_before = self.n_doubled;
        let mut n_own_comments = 0;
        for (customer, n_taken) in expected {
            let own: Vec<&CaseView> = cases.iter().filter(|case| customer.has(case)).collect();
            let said: Vec<u64> = own.iter().flat_map(|case| said(*customer, case)).collect();
            n_own_comments += said.len();
            self.compare(*customer, &said, *n_taken);
            let n_open = own.iter().filter(|case| !["3", "6"].contains(&case.state.as_str())).count();
            if n_open != 1 {
                self.n_other_than_one_case += 1;
                self.details.push(format!("{customer:?} has {n_open} open cases"));
            }
        }
        self.judge_foreign(&cases, n_own_comments);
        if self.n_doubled > n_doubled_before {
            self.details.push(doubled_comments(instance));
        }
    }

    /// What is no customer's own was told to this company, or in this case, by mistake.
    fn judge_foreign(&mut self, cases: &[CaseView], n_own_comments: usize) {
        let n_comments: usize = cases.iter().map(|case| case.comments.len()).sum();
        let n_foreign = n_comments - n_own_comments;
        self.n_foreign += n_foreign;
        if n_foreign > 0 {
            let all = cases.iter().flat_map(|case| case.comments.iter().map(move |comment| (case, comment)));
            let texts = all.map(|(case, comment)| format!("{}: {:?}", case.correlation_id, comment.text));
            self.details.push(format!("{n_foreign} foreign among {:#?}", texts.collect::<Vec<_>>()));
        }
    }

    fn compare(&mut self, customer: Customer, said: &[u64], n_taken: u64) {
        let mut seen = BTreeSet::new();
        let mut last = None;
        for &nth in said {
            let id = customer.message_id(nth);
            if !seen.insert(nth) {
                self.n_doubled += 1;
                self.details.push(format!("doubled: {customer:?} {nth} (message {id})"));
            } else if last > Some(nth) {
                self.n_out_of_order += 1;
                self.details.push(format!("late: {customer:?} {nth} after {last:?} (message {id})"));
            }
            last = last.max(Some(nth));
        }
        for nth in (0..n_taken).filter(|nth| !seen.contains(nth)) {
            self.n_lost += 1;
            self.details.push(format!("lost: {customer:?} {nth} (message {})", customer.message_id(nth)));
        }
    }

    /// Adds what became of the agents' answers: each was to be sent once, each customer's in their order.
    pub(crate) fn add_answers(&mut self, sent: &[XDm], answers: &Answers) {
        for (customer, texts) in answers {
            let recipient = customer.user().id;
            let got: Vec<&str> =
                sent.iter().filter(|dm| dm.recipient_id == recipient).map(|dm| dm.text.as_str()).collect();
            let n_distinct = got.iter().collect::<BTreeSet<_>>().len();
            let n_lost = texts.iter().filter(|text| !got.contains(&text.as_str())).count();
            let is_in_order = got.iter().is_sorted_by_key(|got| texts.iter().position(|text| text == got));
            self.n_lost += n_lost;
            self.n_doubled += got.len() - n_distinct;
            self.n_out_of_order += usize::from(!is_in_order);
            if n_lost > 0 || n_distinct < got.len() || !is_in_order {
                self.details.push(format!("{customer:?} was to get {texts:?}, and got {got:?}"));
            }
        }
    }

    /// Panics with the details unless all is well.
    pub(crate) fn check(&self) {
        self.check_bearing_in_mind("");
    }

    /// The same, and tells what may not be the hub's fault.
    pub(crate) fn check_bearing_in_mind(&self, caveat: &str) {
        let is_well = *self == Self::default();
        assert!(is_well, "{self}\n{}\n{caveat}", self.details.join("\n"));
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { n_lost, n_doubled, n_out_of_order, n_other_than_one_case, n_foreign, .. } = self;
        write!(
            f,
            "lost {n_lost}, doubled {n_doubled}, out of order {n_out_of_order}, foreign {n_foreign}, "
        )?;
        write!(f, "customers without exactly one open case {n_other_than_one_case}, ")?;
        write!(f, "without exactly one record {}, ", self.n_other_than_one_record)?;
        write!(f, "cases beside theirs {}", self.n_odd_cases)
    }
}

/// The customers that stand twice, with the calls that were answered around the second time.
fn doubled_records(instance: &ServiceNowSandbox) -> String {
    let mut first: BTreeMap<String, RecordView> = BTreeMap::new();
    let mut told = String::new();
    for record in instance.consumers() {
        let name = format!("{} {}", record.get("first_name"), record.get("last_name"));
        let Some(earlier) = first.insert(name.clone(), record.clone()) else { continue };
        let _ = write!(told, "{name} was made at {} and at {}", earlier.created_ms, record.created_ms);
        told += &calls_between(instance, earlier.created_ms, record.created_ms, |_| true);
    }
    told
}

/// The comments that stand twice, with the calls for their cases around that time.
fn doubled_comments(instance: &ServiceNowSandbox) -> String {
    let mut told = String::new();
    for case in instance.cases() {
        let mut first: BTreeMap<&str, i64> = BTreeMap::new();
        for comment in &case.comments {
            let Some(earlier_ms) = first.insert(&comment.text, comment.created_ms) else { continue };
            let _ = write!(told, "{:?} was made at {earlier_ms} and at {}", comment.text, comment.created_ms);
            let is_of_case = |path: &str| path.contains(&case.sys_id) || path.ends_with("/case");
            told += &calls_between(instance, earlier_ms, comment.created_ms, is_of_case);
        }
    }
    told
}

fn calls_between(
    instance: &ServiceNowSandbox,
    from_ms: i64,
    to_ms: i64,
    is_told: impl Fn(&str) -> bool,
) -> String {
    let times = from_ms - 1500..to_ms + 500;
    let calls = instance.requests();
    let told = calls.iter().filter(|call| times.contains(&call.received_ms) && is_told(&call.path));
    let line = |CallRecord { received_ms, method, path, query, status, .. }: &CallRecord| {
        format!("\n{received_ms} {method} {path} {query} {status}")
    };
    told.map(line).collect::<Vec<_>>().concat()
}

/// What a customer said in a case, in the order of the comments.
fn said(customer: Customer, case: &CaseView) -> Vec<u64> {
    let texts = case.comments.iter().filter_map(|comment| comment.text.split('\n').nth(1));
    let by_customer = texts.filter_map(Customer::read).filter(|(writer, _)| *writer == customer);
    by_customer.map(|(_, nth)| nth).collect()
}
