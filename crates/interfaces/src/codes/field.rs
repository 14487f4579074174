//! What is wrong with one member of a request: `errors[].code` of a problem.

super::table::wire_names! {
    /// The code of a [`crate::problem::FieldError`] and of a [`crate::rules::Violation`].
    pub enum FieldCode {
        /// The body is not JSON.
        Syntax = "syntax",
        /// It must be there.
        Missing = "missing",
        /// The request has no such member.
        UnknownMember = "unknownMember",
        /// Another type or value than the member has.
        InvalidValue = "invalidValue",
        /// Empty where something has to be.
        Empty = "empty",
        /// More characters than allowed.
        TooLong = "tooLong",
        /// A control character where none belongs.
        ControlCharacter = "controlCharacter",
        /// More entries than allowed.
        TooMany = "tooMany",
        /// A number that JavaScript cannot count to (2^53).
        TooLarge = "tooLarge",
        /// A number outside its range.
        OutOfRange = "outOfRange",
        /// A value this version does not know, where it must know it.
        UnknownValue = "unknownValue",
        /// JSON that is nested too deep.
        TooDeep = "tooDeep",
        /// Not a maintenance window.
        NotAWindow = "notAWindow",
        /// No release has this commit.
        UnknownRelease = "unknownRelease",
        /// There is no such command.
        UnknownCommand = "unknownCommand",
        /// Not a commit: 7 to 64 hex digits in lower case.
        NotACommit = "notACommit",
        /// A commit of decimal digits only.
        NoLetter = "noLetter",
        /// Not a name of a service, volume, network or lock.
        NotAName = "notAName",
        /// Not an image reference.
        NotAnImage = "notAnImage",
        /// The Supervisor would take another image of the same repository for it.
        SharedRepository = "sharedRepository",
        /// A tag that another release uses for another image.
        MovedTag = "movedTag",
        /// Not a platform of an image, or too many of them.
        NotAPlatform = "notAPlatform",
        /// Not `sha256:` and 64 hex digits.
        NotADigest = "notADigest",
        /// Not a name of an environment variable.
        NotAVariable = "notAVariable",
        /// Not a name of a label.
        NotALabel = "notALabel",
        /// Not a compose key.
        NotAKey = "notAKey",
        /// A key that belongs to the agent or the Supervisor, not into a composition.
        ReservedKey = "reservedKey",
        /// A compose key that the Supervisor leaves out.
        UnsupportedKey = "unsupportedKey",
        /// A service's name that is the agent's own use.
        ReservedName = "reservedName",
        /// Two keys that the Supervisor reads as one.
        DuplicateKey = "duplicateKey",
        /// Two mounts at one place of a container.
        DuplicateMount = "duplicateMount",
        /// Not a definition of a volume.
        NotAVolume = "notAVolume",
        /// A volume is mounted that the release does not declare.
        UndeclaredVolume = "undeclaredVolume",
        /// A network is used that the release does not declare.
        UndeclaredNetwork = "undeclaredNetwork",
        /// A service is named that is not in the release.
        UnknownService = "unknownService",
        /// A variable that the Supervisor sets itself.
        ReservedVariable = "reservedVariable",
        /// The agent's own service would not be kept running.
        AgentNotKept = "agentNotKept",
        /// The agent's own service is not in the release.
        AgentServiceMissing = "agentServiceMissing",
        /// The agent's own service lacks the label that gives it access to the Supervisor.
        SupervisorApiMissing = "supervisorApiMissing",
        /// The agent's own service mounts no named volume for its state.
        StateVolumeMissing = "stateVolumeMissing",
    }
}
