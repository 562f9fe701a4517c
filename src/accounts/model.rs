//! What a person is to the marketplace.

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::{
    auth::actor::Roles,
    clock::Timestamp,
    error::Invalid,
    ids::{SkillId, UserId},
    text::{self, TextRule},
};

/// The longest address a mail server must accept (RFC 5321, section 4.5.3.1.3, less the angle brackets).
const EMAIL_MAX: usize = 254;
/// The longest part before the `@` (RFC 5321, section 4.5.3.1.1).
const LOCAL_MAX: usize = 64;

/// What everybody may know of a user. Part of every job's snapshot in the event log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserCard {
    /// Who.
    pub id: UserId,
    /// As they call themselves.
    pub display_name: String,
    /// An `https:` address.
    pub avatar_url: Option<String>,
    /// What they may do. That somebody is an admin is shown to admins only.
    pub roles: Roles,
    /// Jobs completed, as client or as freelancer.
    pub completed_job_count: i32,
    /// Member since.
    pub created_at: Timestamp,
}

/// A word of the curated vocabulary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skill {
    /// Which.
    pub id: SkillId,
    /// Lower case, with hyphens.
    pub slug: String,
    /// For people.
    pub name: String,
    /// Whether it is given to nobody anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retired: bool,
}

/// An email address in the one spelling that its mailbox has here, which is unique in `users`.
///
/// Compatible characters are one (NFKC: full-width letters, `＠`), case means nothing, and a domain is what DNS would be
/// asked for (UTS #46), shown in Unicode. What follows a `+`, and dots, stay: some mailboxes differ by them.
#[derive(Clone, PartialEq, Eq)]
pub struct Email(String);

impl std::fmt::Debug for Email {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Email(..)")
    }
}

impl Email {
    /// Accepts the value of `input.email`. Only the shape is checked: whether a mailbox exists, only mail can tell.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let refused = || Invalid::value("email", "must be an address such as ada@example.com");
        let text: String = as_given(text)?.nfkc().collect();
        let (local, domain) = text.split_once('@').ok_or_else(refused)?;
        let (local, domain) = (local_part(local).ok_or_else(refused)?, domain_of(domain).ok_or_else(refused)?);
        let email = format!("{local}@{domain}");
        if email.len() > EMAIL_MAX { Err(refused()) } else { Ok(Self(email)) }
    }

    /// As it is kept.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the `@`.
    pub fn local_part(&self) -> &str {
        self.0.split_once('@').map_or(&self.0, |(local, _)| local)
    }
}

/// How somebody who signs in names their account.
#[derive(Clone, PartialEq, Eq)]
pub struct AccountName {
    /// In the one spelling of today; none for what is no address.
    email: Option<Email>,
    /// As addresses were kept before: NFC and lower case. An account from then may still have it.
    as_before: String,
}

impl AccountName {
    /// Reads what was typed.
    pub fn read(text: &str) -> Self {
        let as_before = as_given(text).unwrap_or_default().to_lowercase();
        Self { email: Email::parse(text).ok(), as_before }
    }

    /// What attempts are counted by: one text for each mailbox.
    pub fn key(&self) -> &str {
        self.email.as_ref().map_or(&self.as_before, Email::as_str)
    }

    /// What its account may be kept under, the likelier one first.
    pub fn spellings(&self) -> impl Iterator<Item = &str> {
        let other = Some(self.as_before.as_str()).filter(|other| *other != self.key());
        std::iter::once(self.key()).chain(other)
    }
}

impl std::fmt::Debug for AccountName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccountName(..)")
    }
}

fn as_given(text: &str) -> Result<String, Invalid> {
    TextRule { min: 0, max: EMAIL_MAX, multiline: false }.parse("email", text)
}

/// The part before the `@`, in its one spelling: the atoms of RFC 5322 with dots in between, and the letters, marks and
/// digits of every script (RFC 6531). Nothing that does not show, and no quotes.
fn local_part(text: &str) -> Option<String> {
    let lower = text.chars().flat_map(char::to_lowercase);
    // The two small forms of one capital.
    let lower = lower.map(|letter| if letter == 'ς' { 'σ' } else { letter });
    let local: String = lower.nfkc().collect();
    let of_atoms = |letter: char| if letter.is_ascii() { is_atext(letter) } else { text::is_of_words(letter) };
    let holds = (1..=LOCAL_MAX).contains(&local.len())
        && local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(of_atoms));
    holds.then_some(local)
}

fn is_atext(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(letter)
}

/// The domain, in its one spelling: at least two labels that DNS can hold, the last one no number.
fn domain_of(text: &str) -> Option<String> {
    let (rules, names) = (Uts46::new(), AsciiDenyList::STD3);
    let ascii = rules.to_ascii(text.as_bytes(), names, Hyphens::CheckFirstLast, DnsLength::Verify).ok()?;
    let (_, last) = ascii.rsplit_once('.')?;
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (domain, shown) = rules.to_unicode(ascii.as_bytes(), names, Hyphens::CheckFirstLast);
    shown.is_ok().then(|| domain.into_owned())
}

/// Accepts an avatar's address: absolute, `https:`, at most 2,048 bytes.
pub fn avatar_url(text: &str) -> Result<String, Invalid> {
    let refused = || Invalid::value("avatarUrl", "must be an absolute https: address of at most 2048 bytes");
    let url = url::Url::parse(text).map_err(|_| refused())?;
    let holds = url.scheme() == "https" && url.has_host() && url.username().is_empty() && url.password().is_none();
    if text.len() <= 2_048 && holds { Ok(url.into()) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mailbox_has_one_spelling() {
        for (given, kept) in [
            (" Ada@Example.COM ", "ada@example.com"),
            ("ada@ｅｘａｍｐｌｅ.ｃｏｍ", "ada@example.com"),
            ("ａｄａ＠example。com", "ada@example.com"),
            ("ada﹫example．com", "ada@example.com"),
            ("ada@exam\u{AD}ple\u{200B}.com", "ada@example.com"),
            ("ada@BÜCHER.example", "ada@bücher.example"),
            ("ada@xn--bcher-kva.example", "ada@bücher.example"),
            ("ada@bu\u{308}cher.example", "ada@bücher.example"),
            ("ada@XN--E1AFMKFD.xn--p1ai", "ada@пример.рф"),
            ("JOSÉ@example.com", "josé@example.com"),
            ("Jose\u{301}@example.com", "josé@example.com"),
            ("ΟΔΟΣ@example.com", "οδοσ@example.com"),
            ("οδος@example.com", "οδοσ@example.com"),
            ("काम@example.com", "काम@example.com"),
            ("a.d-a+tag_1{x}@mail.example.co.uk", "a.d-a+tag_1{x}@mail.example.co.uk"),
            ("o'brien@example.com", "o'brien@example.com"),
        ] {
            let email = Email::parse(given).map(|email| email.0);
            assert_eq!(email.as_deref(), Ok(kept), "{given}");
            assert_eq!(Email::parse(kept).map(|email| email.0).as_deref(), Ok(kept), "it stays what it is");
        }
        for bad in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@com",
            "a b@example.com",
            "ada@exa mple.com",
            "ada@.com",
            "ada@example.com.",
            "ada@example..com",
            "a\u{202E}da@example.com",
            "ada\u{200B}@example.com",
            "a\u{AD}da@example.com",
            "ada\u{2060}@example.com",
            "a\u{200D}da@example.com",
            "\u{3164}@example.com",
            "ada@@example.com",
            "ada＠@example.com",
            "ada@example.com@example.org",
            "ada,x@example.com",
            "ada，x@example.com",
            "\"ada\"@example.com",
            "<ada@example.com>",
            "ada(comment)@example.com",
            ".ada@example.com",
            "ada.@example.com",
            "a..da@example.com",
            "ada@-example.com",
            "ada@example-.com",
            "ada@exa_mple.com",
            "ada@[127.0.0.1]",
            "ada@127.0.0.1",
            "ada@xn--zzzzzz-.com",
            "ada@example.com:25",
            "🦊@example.com",
        ] {
            assert!(Email::parse(bad).is_err(), "{bad}");
        }
        assert!(Email::parse(&format!("{}@example.com", "a".repeat(64))).is_ok());
        assert!(Email::parse(&format!("{}@example.com", "a".repeat(65))).is_err());
        assert!(Email::parse(&format!("ada@{}.com", "a".repeat(64))).is_err());
    }

    #[test]
    fn an_account_is_found_by_todays_spelling_and_by_the_one_before() {
        let spellings = |text: &str| AccountName::read(text).spellings().map(ToOwned::to_owned).collect::<Vec<_>>();
        assert_eq!(spellings(" Ada@Example.com"), ["ada@example.com"]);
        assert_eq!(spellings("ada@xn--bcher-kva.example"), ["ada@bücher.example", "ada@xn--bcher-kva.example"]);
        assert_eq!(spellings("A@@example.com"), ["a@@example.com"]);
        assert_eq!(spellings("a\u{202E}da@example.com"), [""]);
        assert_eq!(AccountName::read("ada@ｅｘample.com").key(), AccountName::read("ADA@example.com").key());
    }

    #[test]
    fn an_avatar_is_https_and_carries_no_password() {
        assert!(avatar_url("https://example.com/a.png").is_ok());
        for bad in ["http://example.com", "javascript:alert(1)", "https://", "https://u:p@example.com/", "/a.png"] {
            assert!(avatar_url(bad).is_err(), "{bad}");
        }
    }
}
