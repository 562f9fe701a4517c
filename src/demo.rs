//! The demo accounts of a development server: who they are, for all who tell of them. [`crate::seed`] makes them.

use crate::auth::actor::Roles;

/// The password of every demo account.
pub const PASSWORD: &str = "correct-horse-battery";

/// The demo accounts: email, name, roles. The first client and the first freelancer play the story of the README and
/// the playground.
pub const PEOPLE: [(&str, &str, Roles); 9] = [
    ("ada@example.com", "Ada Client", CLIENT),
    ("brian@example.com", "Brian Client", CLIENT),
    ("chandra@example.com", "Chandra Client", CLIENT),
    ("ben@example.com", "Ben Freelancer", FREELANCER),
    ("dina@example.com", "Dina Freelancer", FREELANCER),
    ("emeka@example.com", "Emeka Freelancer", FREELANCER),
    ("fumiko@example.com", "Fumiko Freelancer", FREELANCER),
    ("gregor@example.com", "Gregor Freelancer", FREELANCER),
    ("root@example.com", "Rosa Admin", ADMIN),
];

const CLIENT: Roles = Roles { client: true, freelancer: false, admin: false };
const FREELANCER: Roles = Roles { client: false, freelancer: true, admin: false };
const ADMIN: Roles = Roles { client: false, freelancer: false, admin: true };
