//! Every way in which the server ends a socket, with the code and the reason that its client sees.
//!
//! Pure. The codes are chosen by the behaviour of graphql-ws 6: it reconnects after 1012, 1013, 4403 and 4408 and stops
//! after 1002, 1008, 1009, 1011, 44xx and 4500. So everything that waiting or a fresh token can solve has one of the
//! former, and only a mistake in the client's program has one of the latter. A message that is too large is 4400 and
//! not 1009, like every other refused message. A reason is at most 123 bytes (RFC 6455, 5.5.1): a longer one would drop
//! the socket as 1006.

use tungstenite::{Utf8Bytes, protocol::CloseFrame};

use super::protocol::{Invalid, OperationId};

/// The longest reason a close frame can carry.
const MAX_REASON_BYTES: usize = 123;

/// Why the server ends a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Close {
    /// Broken framing; no client library does this.
    Framing,
    Invalid(Invalid),
    TooLarge {
        max: u32,
    },
    /// `subscribe` before `connection_ack`.
    Unauthorized,
    Forbidden(Forbidden),
    Subprotocol,
    InitTimeout,
    Duplicate(OperationId),
    SecondInit,
    /// The process stops.
    Restart,
    /// A fault of ours: looks like a restart, because clients survive that.
    Bug,
    SlowReader,
    TooManyMessages,
    /// With ids so long that they cannot be refused one by one.
    TooManyOperations,
    /// Of one user.
    TooManySockets,
    /// Of one address: said after the upgrade, since a page sees nothing of an answer before it.
    Crowded,
    /// The token could not be looked at.
    Unavailable,
}

/// What is wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forbidden {
    Refused,
    Expired,
    Revoked,
    OtherUser,
}

impl Close {
    pub(super) const fn code(&self) -> u16 {
        self.code_and_label().0
    }

    /// The code as the label of a metric.
    pub(super) const fn label(&self) -> &'static str {
        self.code_and_label().1
    }

    const fn code_and_label(&self) -> (u16, &'static str) {
        match self {
            Self::Framing => (1002, "1002"),
            Self::Restart | Self::Bug => (1012, "1012"),
            Self::SlowReader
            | Self::TooManyMessages
            | Self::TooManyOperations
            | Self::TooManySockets
            | Self::Crowded
            | Self::Unavailable => (1013, "1013"),
            Self::Invalid(_) | Self::TooLarge { .. } => (4400, "4400"),
            Self::Unauthorized => (4401, "4401"),
            Self::Forbidden(_) => (4403, "4403"),
            Self::Subprotocol => (4406, "4406"),
            Self::InitTimeout => (4408, "4408"),
            Self::Duplicate(_) => (4409, "4409"),
            Self::SecondInit => (4429, "4429"),
        }
    }

    /// Whether what waits in the queue is still delivered: not to someone who does not take it. What somebody has lost
    /// the right to is no longer in it: the session throws it away before.
    pub(super) const fn delivers_queue(&self) -> bool {
        !matches!(self, Self::SlowReader)
    }

    fn reason(&self) -> String {
        match self {
            Self::Framing => "Not the WebSocket protocol".to_owned(),
            Self::Invalid(invalid) => format!("Invalid message: {invalid}"),
            Self::TooLarge { max } => format!("Message too large: at most {max} bytes"),
            Self::Unauthorized => "Unauthorized: wait for connection_ack".to_owned(),
            Self::Forbidden(Forbidden::Refused) => "Forbidden".to_owned(),
            Self::Forbidden(Forbidden::Expired) => "Forbidden: token expired".to_owned(),
            Self::Forbidden(Forbidden::Revoked) => "Forbidden: token revoked".to_owned(),
            Self::Forbidden(Forbidden::OtherUser) => "Forbidden: token of another user".to_owned(),
            Self::Subprotocol => "Subprotocol not acceptable: use graphql-transport-ws".to_owned(),
            Self::InitTimeout => "Connection initialisation timeout".to_owned(),
            Self::Duplicate(id) => format!("Subscriber for {id} already exists"),
            Self::SecondInit => "Too many initialisation requests".to_owned(),
            Self::Restart => "Service restart".to_owned(),
            Self::Bug => "Service restart: internal error".to_owned(),
            Self::SlowReader => "Try again later: too slow to take what was sent".to_owned(),
            Self::TooManyMessages => "Try again later: too many messages".to_owned(),
            Self::TooManyOperations => "Try again later: too many operations with long ids".to_owned(),
            Self::Crowded => "Try again later: too many sockets from this address".to_owned(),
            Self::TooManySockets => "Try again later: too many sockets of this user".to_owned(),
            Self::Unavailable => "Try again later".to_owned(),
        }
    }

    pub(super) fn frame(&self) -> CloseFrame {
        let mut reason = self.reason();
        reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
        CloseFrame { code: self.code().into(), reason: Utf8Bytes::from(reason) }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::protocol::Incoming, *};

    #[test]
    fn a_reason_fits_its_frame_and_is_cut_between_characters() {
        let id = "é".repeat(128);
        let Ok(Incoming::Complete(id)) = Incoming::parse(&format!(r#"{{"type":"complete","id":"{id}"}}"#)) else {
            panic!("valid")
        };
        let frame = Close::Duplicate(id).frame();
        assert_eq!(u16::from(frame.code), 4409);
        assert!((122..=123).contains(&frame.reason.len()), "{}", frame.reason.len());
        assert_eq!(Close::Forbidden(Forbidden::Refused).frame().reason.as_str(), "Forbidden");
        assert_eq!(Close::Bug.label(), Close::Bug.code().to_string());
    }
}
