//! What kinds of events there are, as the domains that record them describe them.
//!
//! A kind is a name and what follows from it for every event of that name: who may receive one at all. Each domain
//! declares its own in its `events.rs`; [`domains`](crate::domains) puts them together as [`Kinds`] and hands them to the
//! log and to the bus, which read names of kinds and know none by themselves.

/// A kind of event. Declared once, as a constant of the domain that records it.
///
/// Two kinds are equal if they are described equally; names are unique ([`Kinds`] has a test).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any may go with any other")]
pub struct EventKind {
    name: &'static str,
    internal: bool,
    public: bool,
    parties: bool,
    admins: bool,
}

impl EventKind {
    /// Something that another version of the server has recorded and this one does not know. It keeps its place in the
    /// log, and nobody here receives it. Never recorded itself.
    pub const UNKNOWN: Self = Self::internal("UNKNOWN");

    /// A kind that clients may receive, as far as the following say: [`EventKind::for_everybody`],
    /// [`EventKind::for_parties`], [`EventKind::for_admins`]. The name is what the log stores: capital letters and
    /// underscores, at most 255 of them.
    pub const fn named(name: &'static str) -> Self {
        Self { name, internal: false, public: false, parties: false, admins: false }
    }

    /// A kind for the nodes alone: no client ever receives it.
    pub const fn internal(name: &'static str) -> Self {
        Self { internal: true, ..Self::named(name) }
    }

    /// An event of the kind may be public.
    #[must_use]
    pub const fn for_everybody(self) -> Self {
        Self { public: true, ..self }
    }

    /// The users whom an event of the kind names receive more of it than everybody.
    #[must_use]
    pub const fn for_parties(self) -> Self {
        Self { parties: true, ..self }
    }

    /// Admins receive the events of the kind as the named users do.
    #[must_use]
    pub const fn for_admins(self) -> Self {
        Self { admins: true, ..self }
    }

    /// Its name in the log.
    pub const fn as_str(self) -> &'static str {
        self.name
    }

    /// Whether only the nodes receive it.
    pub const fn is_internal(self) -> bool {
        self.internal
    }

    /// Whether an event of the kind may be public.
    pub const fn is_for_everybody(self) -> bool {
        self.public
    }

    /// Whether the users whom such an event names receive more of it than everybody.
    pub const fn has_parties(self) -> bool {
        self.parties
    }

    /// Whether admins receive such events as the named users do.
    pub const fn is_told_to_admins(self) -> bool {
        self.admins
    }
}

/// The kinds of several domains, a list each.
#[derive(Clone, Copy, Debug)]
pub struct Kinds(&'static [&'static [EventKind]]);

impl Kinds {
    /// No kinds: for what reads no event.
    pub const NONE: Self = Self(&[]);

    /// The kinds of these lists. A name must be in one of them only, and once.
    pub const fn of(lists: &'static [&'static [EventKind]]) -> Self {
        Self(lists)
    }

    /// All of them, list by list.
    pub fn iter(self) -> impl Iterator<Item = EventKind> {
        self.0.iter().copied().flatten().copied()
    }

    /// The kind that the log or a bus calls so; [`EventKind::UNKNOWN`] if none of these is.
    pub fn recorded_as(self, name: &str) -> EventKind {
        self.iter().find(|kind| kind.name == name).unwrap_or(EventKind::UNKNOWN)
    }
}
