//! Who writes what: companies with an account and an instance each, and their customers.

use casewire_sandbox::{CaseView, XAccount, XUser, bodies};

/// Ids of messages begin here; each customer's grow with each message, as X's do.
const FIRST_ID: u64 = 1_900_000_000_000_000_000;
const WRITTEN_MS: i64 = 1_700_000_000_000;

/// One customer of one company.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Customer {
    pub(crate) company: usize,
    pub(crate) number: usize,
}

/// The account of a company with its tokens.
pub(crate) fn account(company: usize) -> XAccount {
    XAccount {
        id: (700_000_000_000 + company).to_string(),
        screen_name: format!("company{company}"),
        name: format!("Company {company}"),
        access_token: format!("{company}-token"),
        access_token_secret: format!("{company}-token-secret"),
    }
}

impl Customer {
    /// All customers of so many companies.
    pub(crate) fn all(n_companies: usize, n_each: usize) -> Vec<Self> {
        let of_company = |company| (0..n_each).map(move |number| Self { company, number });
        (0..n_companies).flat_map(of_company).collect()
    }

    pub(crate) fn user(self) -> XUser {
        let Self { company, number } = self;
        let id = 800_000_000_000 + company * 100_000 + number;
        XUser::new(&id.to_string(), &format!("c{number}_of_{company}"), &format!("Customer {number}"))
    }

    /// The text of the nth message; [`Customer::read`] is its inverse.
    pub(crate) fn text(self, nth: u64) -> String {
        format!("customer {} of company {} says {nth}", self.number, self.company)
    }

    /// Who wrote a text, and which of their messages it is.
    pub(crate) fn read(text: &str) -> Option<(Self, u64)> {
        let numbers: Vec<u64> = text.split(' ').filter_map(|word| word.parse().ok()).collect();
        let &[number, company, nth] = numbers.as_slice() else { return None };
        Some((Self { company: usize::try_from(company).ok()?, number: usize::try_from(number).ok()? }, nth))
    }

    /// Whether a case is theirs.
    pub(crate) fn has(self, case: &CaseView) -> bool {
        case.correlation_id.contains(&format!(":{}:", self.user().id))
    }

    /// The id of the nth message.
    pub(crate) fn message_id(self, nth: u64) -> String {
        (FIRST_ID + nth * 100_000 + self.number as u64).to_string()
    }

    /// The body that X posts for the nth message.
    pub(crate) fn body(self, nth: u64) -> String {
        let (company, user) = (account(self.company).user(), self.user());
        bodies::dm_body(&company, &user, &self.message_id(nth), &self.text(nth), WRITTEN_MS)
    }
}

#[test]
fn a_text_tells_who_wrote_it() {
    let customer = Customer { company: 11, number: 4 };
    assert_eq!(Customer::read(&customer.text(19)), Some((customer, 19)));
    assert_eq!(Customer::read("somebody else's words"), None);
}
