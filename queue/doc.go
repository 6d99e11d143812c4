// Package queue is the durable job queue between the watcher and the uploader,
// in the same SQLite file as the records.
//
// There is one job per path at most, and a path that is in step has none. A
// later change of the same path supersedes the earlier one in place and raises
// the job's generation; a job is done only at the generation it was claimed
// with, so a change during an upload is never lost: the result is recorded and
// the job is ready again.
//
// # Ordering invariants
//
// They are what makes a crash at any point harmless. Each names the test that proves
// it; TestFailpoints (cmd/iksync, with the tag failpoints) lets the process die, and
// each step fail, at every boundary between them.
//
// Records and jobs:
//
//  1. A fileId is recorded and its job removed in one durable transaction
//     (TestCompleteRecordsAndRemovesInOneTransaction).
//  2. A job is leased, in the file, before its upload begins; a lease that a
//     dead process left comes back at the next start
//     (TestLeasesOfADeadProcessComeBack). A lease that has ended is another's, and
//     the late worker's result is recorded without ending that one's job
//     (TestALateWorkerDoesNotFinishAnothersJob).
//  3. A change is enqueued only if, inside the same transaction, neither the
//     record nor the job of its path shows it already, so a scan that looked at
//     the records earlier can't bring back what was uploaded meanwhile
//     (TestEnqueueIgnoresWhatIsAlreadyRecorded).
//  4. A remote path is reserved in the file for one local path before anything
//     is sent to it (TestTwoPathsNeverShareARemotePath), in every form that a library
//     may make of its names (TestAFormOfATakenRemotePathIsGivenToNobodyElse), and
//     nothing is sent to where the asset of another record is
//     (TestAnUploadWaitsUntilTheAssetInItsPlaceHasLeft).
//  5. A job is done only at the generation that it was claimed with: what changed
//     meanwhile is ready again in the transaction that records what was sent
//     (TestAChangeDuringAnUploadIsNotLost).
//  6. Success is told only of what survives a power cut, where that is asked for: done
//     is called after the fsync, not after the commit
//     (TestARecordThatWasToldToBeCommittedSurvivesKill9).
//
// Uploads without an answer:
//
//  7. What a dead process had leased may have come: in the transaction that ends its
//     leases their jobs are marked as unsure, and their records as ones that no file
//     matches (TestTheQueueBehavesAsItsModel). The library is asked before anything of
//     an unsure job is sent again (TestFailpoints, "unsure").
//  8. An unsure job is not cancelled when its file goes: the library is asked, and an
//     asset that has come is recorded, so that no asset is without a record
//     (TestFailpoints, "orphans" and "vanished").
//
// Moves:
//
//  9. Where the asset of a record is to go is written down, durably, before the library
//     is asked for it, and stays written down until it is recorded where the asset is,
//     by the library's own account and not by the call's answer
//     (TestAMoveSurvivesAKillAtEveryRequest, TestALostAnswerOfACallThatWasDoneIsFoundOut).
//  10. While there is an intent for a record, nobody is given a job of it and nothing
//     else is intended for it (TestARecordWithAnIntentIsNotUploadedAndNotIntendedTwice),
//     and nothing is sent into a folder that is moved or removed
//     (TestAFileQueuedWhileAFolderIsMovedStaysWhereItIs).
//  11. At the start every intent is looked into before anything is moved or removed
//     (TestAMoveSurvivesBeingStoppedRightAfterACallWasDone). One whose call was broken
//     off stays until then, since the library may do it yet
//     (TestAMoveThatIsDoneAfterThePoolHasStoppedIsUndoneWithItsFile). One whose outcome
//     can't be found out is set aside: until it is, no job at or below its source and its
//     target is claimed, and nothing is intended there or for its record
//     (TestAnIntentThatIsSetAsideBlocksItsOwnAlone); all else goes on
//     (TestAnIntentThatCanNotBeResolvedHoldsUpNoOther).
//  12. A record gets its new local path, and the job of the move ends, in one
//     transaction after its asset has arrived; files that changed places do so together
//     (TestRecordsChangePlacesInOneTransaction). A change that came meanwhile stays a
//     job (TestAChangeThatCameDuringAMoveIsUploaded).
//  13. An asset that is not where its record's path has it is marked as astray in the
//     transaction that records where it is, until its record follows or it is brought
//     home (TestAnAssetIsAstrayUntilItsRecordFollowsOrItIsBroughtHome).
//  14. A folder's records all move in one transaction, which also ends the intent and
//     begins that of the second step, if there is one: there is no moment without
//     (TestADirectoryIsMovedInAsFewJobsAsItTakes, TestFailpoints, "trees"). Where its
//     files have new ids, that is noted before the first is recorded
//     (TestFailpoints, "new ids").
//
// Removals:
//
//  15. A removal is written down, durably, before the library is asked for it, only of
//     records whose files are absent, not kept and not in use at that moment
//     (TestARemovalIsNotBegunOfAFileThatIsInUse).
//  16. A record ends, and what was removed is noted, in one durable transaction after
//     the library has told that the asset is gone or in the trash
//     (TestKilledBetweenTheDeleteAndItsRecord). A file that is back by then gets a job
//     in the same transaction (TestARemovalThatFindsItsFileBackLeavesAJob).
//  17. Removals are counted, and the brake put on, in the transaction that says what is
//     due; only a complete scan makes anything due
//     (TestTheBrakeCountsWhatWentWithinTheHour, TestNothingIsDueBeforeTheFirstCompleteScan).
//
// Identity:
//
//  18. A scan vouches for the directory that it began and ended in; while another one is
//     in its place nothing is due, whatever was approved or absent before. An id that
//     clones share, and one that devices or mounts give, is not enough: recorded files
//     must be there (TestADiskWithTheIDOfTheRecordedOneMustHaveItsFiles,
//     TestASwappedDiskRemovesNothing, TestNothingIsDueWhileAnotherDirectoryIsInPlaceOfTheRoot,
//     TestWhatWasApprovedStaysWhileAnotherDirectoryIsInPlaceOfTheRoot).
//
//  19. A root gets another path in one durable transaction that finds it recorded as it was
//     when its directory was looked at; unless the disk is the same one, that transaction
//     also ends what its records prove by inodes (TestARootAtAnotherPathIsTheRecordedOne,
//     TestFailpointsOfRelocation).
//
//  20. No remote path is of two records: an asset is not recorded where that of another
//     record is (TestARemotePathBelongsToOneLocalPathOfAllRoots,
//     TestAnAssetIsNotPlacedWhereAnotherRecordIs); nor does a fileId get into two
//     (TestMovesFollowTheTree, TestFailpoints).
//
//  21. A fileId is recorded, moved, copied or kept for a path only if the content is known
//     to be equal: by hashes of both sides, or by an identity that the file system proves.
//     state.Prove decides that, and the statements of this package follow it (TestProve,
//     TestEnqueueFollowsProve, TestPicturesKeepTheirNamesWhereInodesAreRenumbered). A record
//     that was adopted without comparing the bytes is the one exception; it is never the
//     source of a move or a copy (TestASourceOfACopyHasNothingToDo).
//
//  22. What is recorded was read after the file had looked the same for as long as its time
//     stamps are coarse (TestARewriteWithinTheGrainOfTimeStampsIsSent).
//
//  23. The asset of a single file that was moved stays where it is if a file that was not
//     recorded is in its place
//     (TestAnEditedPictureKeepsItsFileIdAndTheOriginalBesideItIsNew). It is asked once the
//     file has been under its new name for the settle time
//     (TestAScanBetweenTwoRenamesDoesNotMoveTheAsset).
//
// Copies:
//
//  24. While a copy is being made nothing is sent to its source
//     (TestNothingIsSentToAnAssetThatIsCopied), which has nothing to do
//     (TestACopyInTheLibraryIsNotMadeOfAnAssetThatIsAboutToChange).
//  25. A copy under another name is made in a staging folder that an intent names, which
//     is removed with all that is in it before the intent is (TestFailpoints, "copies"),
//     and not while the copy may still come
//     (TestACopyThatIsDoneAfterThePoolHasStoppedIsRemoved).
//  26. An alias is recorded, and its job removed, in one transaction that finds the other
//     record with that content still (TestFailpoints, "same").
//
// Folders:
//
//  26. A folder of the library is removed only with an intent for it, which is written
//     in a transaction that finds no record, job, reserved path or intent at or below the
//     folder (TestQuietFolders), and which keeps claims and intents away until the outcome
//     of the call is known (TestNothingIsIntendedBelowAFolderThatIsRemoved,
//     TestAFolderWhoseDeleteWasBrokenOffTakesNoUpload).
//  27. The time since the last call of ours below a folder counts only between two looks
//     that found nothing, by the slower of two clocks; every claim, intent and delete below
//     it begins the wait anew (TestQuietFolders, TestAFolderThatOnlyLooksEmptyStays).
//
// Names:
//
//  28. An asset gets the name without its suffix only while no other path has a record, a
//     job or an intent with that name in any form, which is looked at in the transaction
//     that writes the intent down (TestANameThatAnotherFileHasReservedIsNotTaken,
//     TestTakingANameSurvivesAKillAtEveryRequest).
package queue
