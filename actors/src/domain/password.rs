//! What a new password must stand.

/// The least number of characters.
pub const MIN_CHARACTERS: usize = 8;
/// The greatest number of characters.
pub const MAX_CHARACTERS: usize = 128;

/// How strict the rules are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PasswordRules {
    /// The length, and that it is not the user name.
    #[default]
    Length,
    /// The common ones are refused too.
    Common,
}

/// What is wrong with a password. The texts are those that users of Django know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFault {
    /// Fewer than [`MIN_CHARACTERS`].
    #[error("Ensure this field has at least {MIN_CHARACTERS} characters.")]
    TooShort,
    /// More than [`MAX_CHARACTERS`].
    #[error("Ensure this field has no more than {MAX_CHARACTERS} characters.")]
    TooLong,
    /// It is the user name, in whatever case.
    #[error("The password is too similar to the username.")]
    IsUsername,
    /// It stands on every attacker's list.
    #[error("This password is too common.")]
    Common,
}

/// Everything that is wrong with a password for this user.
pub fn faults(password: &str, username: &str, rules: PasswordRules) -> Vec<PasswordFault> {
    let n_characters = password.chars().count();
    let mut faults = Vec::new();
    if n_characters < MIN_CHARACTERS {
        faults.push(PasswordFault::TooShort);
    }
    if n_characters > MAX_CHARACTERS {
        faults.push(PasswordFault::TooLong);
    }
    if !username.is_empty() && password.to_lowercase() == username.to_lowercase() {
        faults.push(PasswordFault::IsUsername);
    }
    if rules == PasswordRules::Common && is_common(password) {
        faults.push(PasswordFault::Common);
    }
    faults
}

/// Whether it is among the passwords that are tried first, in whatever case.
pub fn is_common(password: &str) -> bool {
    let password = password.to_lowercase();
    COMMON.contains(&password.as_str())
}

/// What an attacker tries within the first dozen guesses.
pub(crate) const TRIED_FIRST: [&str; 12] = [
    "password",
    "12345678",
    "123456789",
    "1234567890",
    "password1",
    "password123",
    "qwertyuiop",
    "11111111",
    "iloveyou",
    "1q2w3e4r",
    "welcome1",
    "adminadmin",
];

/// The most frequent passwords of leaked lists that are long enough to get past the length rule.
const COMMON: &[&str] = &[
    "00000000",
    "01234567",
    "0123456789",
    "0987654321",
    "11111111",
    "111111111",
    "1111111111",
    "11112222",
    "11223344",
    "12121212",
    "123123123",
    "12341234",
    "12344321",
    "123454321",
    "12345678",
    "123456789",
    "1234567890",
    "123456789a",
    "12345678a",
    "123456abc",
    "1234abcd",
    "1234qwer",
    "123qweasd",
    "147258369",
    "1q2w3e4r",
    "1q2w3e4r5t",
    "1qaz2wsx",
    "1qaz2wsx3edc",
    "22222222",
    "55555555",
    "66666666",
    "77777777",
    "87654321",
    "88888888",
    "987654321",
    "99999999",
    "a1234567",
    "a12345678",
    "a1b2c3d4",
    "aa123456",
    "aaaaaaaa",
    "abc12345",
    "abc123456",
    "abcd1234",
    "abcdefgh",
    "access14",
    "administrator",
    "adminadmin",
    "alexander",
    "asdasdasd",
    "asdf1234",
    "asdfasdf",
    "asdfghjk",
    "asdfghjkl",
    "baseball",
    "basketball",
    "baseball1",
    "butterfly",
    "changeme",
    "charlie1",
    "chocolate",
    "christian",
    "computer",
    "consumer",
    "corvette",
    "creative",
    "danielle",
    "december",
    "dragon12",
    "einstein",
    "elephant",
    "elizabeth",
    "explorer",
    "facebook",
    "football",
    "football1",
    "franklin",
    "garfield",
    "hellohello",
    "iloveyou",
    "iloveyou1",
    "iloveyou2",
    "internet",
    "jennifer",
    "jonathan",
    "letmein1",
    "liverpool",
    "lovelove",
    "marlboro",
    "maverick",
    "mercedes",
    "michelle",
    "microsoft",
    "midnight",
    "mustang1",
    "mypassword",
    "naruto123",
    "newpassword",
    "nicholas",
    "november",
    "olivia123",
    "passpass",
    "passw0rd",
    "password",
    "password!",
    "password01",
    "password1",
    "password12",
    "password123",
    "password1234",
    "password2",
    "pakistan",
    "patricia",
    "platinum",
    "pokemon1",
    "president",
    "princess",
    "princess1",
    "q1w2e3r4",
    "q1w2e3r4t5",
    "qazwsxedc",
    "qwer1234",
    "qwerasdf",
    "qwertyui",
    "qwertyuiop",
    "qwerty12",
    "qwerty123",
    "qwerty1234",
    "rangers1",
    "rockstar",
    "samantha",
    "samsung1",
    "scorpion",
    "secret12",
    "september",
    "servicenow",
    "spiderman",
    "starwars",
    "steelers",
    "summer2024",
    "summer2025",
    "sunshine",
    "superman",
    "superman1",
    "test1234",
    "testtest",
    "trustno1",
    "undertaker",
    "victoria",
    "welcome1",
    "welcome123",
    "whatever",
    "william1",
    "winter2024",
    "winter2025",
    "xxxxxxxx",
    "zaq12wsx",
    "zxcvbnm1",
    "zxcvbnm123",
    "zzzzzzzz",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tried_first_is_common() {
        assert!(TRIED_FIRST.iter().all(|password| is_common(password)));
    }

    #[test]
    fn the_rules_are_these() {
        use PasswordFault::{Common, IsUsername, TooLong, TooShort};
        use PasswordRules as Rules;
        let (longest, longer) = ("x".repeat(128), "x".repeat(129));
        for (password, username, rules, expected) in [
            ("changed!", "a@b.example", Rules::Length, vec![]),
            ("password", "a@b.example", Rules::Length, vec![]),
            ("password", "a@b.example", Rules::Common, vec![Common]),
            ("PassWord", "a@b.example", Rules::Common, vec![Common]),
            ("seven 7", "a@b.example", Rules::Length, vec![TooShort]),
            ("       ", "a@b.example", Rules::Length, vec![TooShort]),
            ("        ", "a@b.example", Rules::Length, vec![]),
            ("äöüäöüäö", "a@b.example", Rules::Length, vec![]),
            (&longest, "a@b.example", Rules::Length, vec![]),
            (&longer, "a@b.example", Rules::Length, vec![TooLong]),
            ("A@b.Example", "a@B.example", Rules::Length, vec![IsUsername]),
            ("a@b.c", "a@b.c", Rules::Length, vec![TooShort, IsUsername]),
        ] {
            assert_eq!(faults(password, username, rules), expected, "{password} {username} {rules:?}");
        }
    }
}
