//! What a person is to the marketplace.

use serde::{Deserialize, Serialize};

use crate::{
    auth::actor::Roles,
    clock::Timestamp,
    error::Invalid,
    ids::{SkillId, UserId},
    text::TextRule,
};

/// The longest address a mail server must accept (RFC 5321, section 4.5.3.1.3, less the angle brackets).
const EMAIL_MAX: usize = 254;

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
}

/// An email address, normalised so that one mailbox has one account: NFC, lower case.
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
        let rule = TextRule { min: 0, max: EMAIL_MAX, multiline: false };
        let email = rule.parse("email", text)?.to_lowercase();
        let (local, domain) = email.rsplit_once('@').ok_or_else(refused)?;
        let clean = |character: char| !character.is_whitespace() && !character.is_control();
        let labels = domain.split('.');
        let domain_holds = labels.clone().count() > 1
            && labels.into_iter().all(|label| {
                !label.is_empty() && label.chars().all(|character| character.is_alphanumeric() || character == '-')
            });
        if email.len() > EMAIL_MAX || local.is_empty() || !local.chars().all(clean) || !domain_holds {
            return Err(refused());
        }
        Ok(Self(email))
    }

    /// As it is kept.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the `@`.
    pub fn local_part(&self) -> &str {
        self.0.rsplit_once('@').map_or(&self.0, |(local, _)| local)
    }
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
        assert_eq!(Email::parse(" Ada@Example.COM ").map(|email| email.0), Ok("ada@example.com".into()));
        for bad in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@com",
            "a b@example.com",
            "ada@exa mple.com",
            "ada@.com",
            "a\u{202E}da@example.com",
        ] {
            assert!(Email::parse(bad).is_err(), "{bad}");
        }
        assert!(Email::parse(&format!("{}@example.com", "a".repeat(250))).is_err());
    }

    #[test]
    fn an_avatar_is_https_and_carries_no_password() {
        assert!(avatar_url("https://example.com/a.png").is_ok());
        for bad in ["http://example.com", "javascript:alert(1)", "https://", "https://u:p@example.com/", "/a.png"] {
            assert!(avatar_url(bad).is_err(), "{bad}");
        }
    }
}
